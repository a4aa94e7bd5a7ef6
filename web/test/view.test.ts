import { afterEach, expect, test } from "vitest";
import { home } from "../src/lib/home.svelte";
import type { Device } from "../src/lib/types";
import { hrefOf, pathOf, provenAt } from "../src/lib/view";

const device = (over: Partial<Device>): Device => ({ di: "d1", name: "lamp", type: "oic.d.light", account: "home", state: "reachable", links: [], ...over });
const say = (type: string, doc: object) => ({ id: "", type, data: JSON.stringify(doc) });

afterEach(() => home.take([say("gone", { di: "gw" }), say("gone", { di: "d1" })]));

test.each([
  ["straight", {}, "cloud"],
  ["by a known transport", { transport: "coaps+tcp" }, "coaps+tcp"],
  ["by XMPP alone", { by: ["xmpp"] }, "XMPP"],
  ["by both", { by: ["cloud", "xmpp"] }, "cloud + XMPP"],
  ["through a proxy", { gateway: "gw" }, "via cellar"],
  ["through one that nobody knows", { gateway: "0123456789" }, "via 01234567"],
  ["offline", { state: "offline" }, ""],
  ["behind one that is gone", { state: "unknown", gateway: "gw" }, "via cellar"],
] as const)("the path of a device %s", (_, over, want) => {
  home.take([say("device", device({ di: "gw", name: "cellar" }))]);
  expect(pathOf(device(over as Partial<Device>))).toBe(want);
});

test("the newest sign of life", () => {
  const links = [{ href: "/a", rt: [], if: [], observable: true }];
  const at = (s: number) => new Date(s * 1000).toISOString();
  home.take([say("event", { seq: 1, time: at(50), di: "d1", href: "/a", rep: {} })]);
  expect(provenAt(device({ links, proven: at(40) }))).toBe(50_000);
  expect(provenAt(device({ links, proven: at(60) }))).toBe(60_000);
  expect(provenAt(device({ links }))).toBe(50_000);
  expect(provenAt(device({ links, proven: at(40), state: "offline" }))).toBe(40_000);
  expect(provenAt(device({}))).toBeNaN();
});

test("what rules say leads to the rules", () => {
  expect([hrefOf("rule:dusk"), hrefOf("d1")]).toEqual(["#/rules", "#/devices/d1"]);
});
