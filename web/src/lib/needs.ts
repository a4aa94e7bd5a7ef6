import { t } from "./texts";
import type { Command, Device, Run, Status } from "./types";
import { nameOf } from "./view";

/** Something that a person should look at. */
export interface Need {
  text: string;
  href: string; // where
  device?: Device; // whose state says the rest
}

const day = 86400_000;
const recent = 3600_000; // ms, after which what failed is no news
const ending = 14 * day; // before the end of a certificate

export interface Known {
  devices: Device[];
  commands: Command[];
  runs: Run[];
  status?: Status | undefined;
  shares: { account: string; accepted?: string }[]; // that others give
}

/** What needs a person now, what is worst first. */
export function needs(k: Known, now: number): Need[] {
  const list: Need[] = [];
  const { status } = k;
  if (status && !status.ready) list.push({ text: t("need.store", { why: status.store.problem ?? "" }), href: "#/system" });
  const ends = Date.parse(status?.certificate_ends ?? "");
  if (ends - now < ending) list.push({ text: ends < now ? t("need.ended") : t("need.certificate", { n: Math.floor((ends - now) / day) }), href: "#/system" });
  for (const state of ["offline", "unknown", "unproven"] as const) {
    for (const device of k.devices) if (device.state === state) list.push({ text: nameOf(device), href: "#/devices/" + device.di, device });
  }
  const odd = k.runs.find((r) => r.kind !== "fired" && now - Date.parse(r.time) < recent);
  if (odd) list.push({ text: t("need.rule", { name: odd.name, what: t(`run.${odd.kind}`) }), href: "#/rules/" + odd.rule });
  const bad = k.commands.filter((c) => ["refused", "failed", "expired", "unknown"].includes(c.state) && now - Date.parse(c.made) < recent);
  if (bad[0]) list.push({ text: t("need.commands", { n: bad.length, name: bad[0].name ?? "", why: bad[0].why || t(`command.${bad[0].state}`) }), href: "#/commands" });
  const asked = k.shares.find((s) => !s.accepted);
  if (asked) list.push({ text: t("need.share", { who: asked.account }), href: "#/system?tab=access" });
  return list;
}
