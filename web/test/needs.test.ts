import { expect, test } from "vitest";
import { needs } from "../src/lib/needs";
import type { Command, Device, Run, Status } from "../src/lib/types";

const now = Date.parse("2026-03-01T12:00:00Z");
const ago = (s: number) => new Date(now - s * 1000).toISOString();
const device = (name: string, state: Device["state"]): Device => ({ di: name, name, type: "", account: "a", state, links: [] });
const command = (state: Command["state"], s: number): Command => ({ id: state, di: "d", name: "lamp", op: "update", href: "/a", rep: null, by: { account: "a", kind: "token" }, state, made: ago(s) });
const run = (kind: Run["kind"], s: number): Run => ({ id: "r", rule: "7", name: "dusk", revision: 1, kind, time: ago(s), since: ago(s), do: [] });
const status = (ready: boolean, days: number) => ({ ready, store: { kind: "x", problem: "full" }, certificate_ends: ago(-days * 86400) }) as Status;
const none = { devices: [], commands: [], runs: [], shares: [] };

test.each([
  ["nothing", none, []],
  ["all well", { ...none, devices: [device("a", "reachable")], commands: [command("done", 5)], runs: [run("fired", 5)], status: status(true, 80), shares: [{ account: "ann", accepted: ago(9) }] }, []],
  ["devices, the worst first", { ...none, devices: [device("u", "unproven"), device("x", "unknown"), device("o", "offline")] }, ["o", "x", "u"]],
  ["store", { ...none, status: status(false, 80) }, ["The store is not ready: full"]],
  ["certificate", { ...none, status: status(true, 6.5) }, ["The certificate ends in 6 days."]],
  ["certificate that ended", { ...none, status: status(true, -1) }, ["The certificate has ended: devices and browsers refuse it."]],
  ["rule", { ...none, runs: [run("asleep", 60)] }, ["Rule dusk fired too often and sleeps"]],
  ["commands", { ...none, commands: [command("refused", 60), command("failed", 90), command("refused", 9999)] }, ["2 commands of the last hour failed; the newest to lamp: refused"]],
  ["share", { ...none, shares: [{ account: "ann" }] }, ["ann shares something with you."]],
])("%s", (_, known, want) => {
  expect(needs(known, now).map((n) => n.text)).toEqual(want);
});
