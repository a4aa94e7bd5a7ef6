import { controls, headline, type Control } from "./controls";
import { home, machinery, type State } from "./home.svelte";
import { t, type Text } from "./texts";
import type { Command, Device, Link } from "./types";

/** What a device shows of itself: the resources that are for people, with their controls. */
export interface Part {
  link: Link;
  state: State;
  controls: Control[];
}

export function parts(device: Device): Part[] {
  const list: Part[] = [];
  for (const link of device.links) {
    if (machinery(link.href)) continue;
    const state = home.state(device.di, link.href);
    if (state) list.push({ link, state, controls: controls(link, state.rep) });
  }
  return list;
}

/**
 * The last value of a device in words, and when it was received. The version of
 * the home is an argument so that a page asks again when it has changed.
 */
export function last(device: Device, _version: number): { text: string; state?: State } {
  for (const part of parts(device)) {
    const text = headline(part.controls);
    if (text) return { text, state: part.state };
  }
  return { text: "" };
}

/** The name of a device for a person, and of its type. */
export function nameOf(device: Device): string {
  return device.name || device.di.slice(0, 8);
}

const collator = new Intl.Collator(undefined, { numeric: true });

/** The order of devices in lists. */
export function byName(a: Device, b: Device): number {
  return collator.compare(nameOf(a), nameOf(b)) || (a.di < b.di ? -1 : 1);
}

export function typeOf(device: Device): string {
  return device.type.replace(/^oic\.d\./, "").replace(/^x\./, "") || "–";
}

/** The newest sign of life of a device that is known, in ms; NaN: none. */
export function provenAt(device: Device): number {
  let at = Date.parse(device.proven ?? "");
  if (device.state !== "reachable" && device.state !== "unproven") return at;
  for (const link of device.links) {
    const state = home.state(device.di, link.href);
    if (state && !(state.at <= at)) at = state.at;
  }
  return at;
}

/** The ways that lead to a device now, in words; "": none does. */
export function pathOf(device: Device): string {
  const through = device.gateway ? t("path.via", { name: home.devices.get(device.gateway)?.name || device.gateway.slice(0, 8) }) : "";
  if (device.state === "offline" || device.state === "unknown") return through;
  const by = device.by ?? ["cloud"];
  const ways = by.map((way) => (way === "xmpp" ? t("path.xmpp") : through || device.transport || t("path.cloud")));
  return ways.join(" + ");
}

/** The page of what an event is of: a device, or a rule that says something. */
export function hrefOf(di: string): string {
  return di.startsWith("rule:") ? "#/rules" : "#/devices/" + di;
}

/** Who asked for a command, in words. */
export function byOf(c: Command): string {
  return `${t(`by.${c.by.kind}` as Text)} ${c.by.name || (c.by.kind === "rule" ? c.by.id : c.by.account) || ""}`.trim();
}
