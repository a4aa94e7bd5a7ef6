import { figure, short } from "./format";
import type { Json, Link, Rep } from "./types";
import { t } from "./texts";

/**
 * What a person can see of a property, and do with it. Which one it becomes is
 * decided by the resource's types (OCF Resource Type Specification) and, for
 * what these do not say, by the value itself.
 */
export type Control =
  | { kind: "switch"; href: string; property: string; label: string; on: boolean; write: boolean }
  | { kind: "range"; href: string; property: string; label: string; value: number; min: number; max: number; step: number; unit: string; write: boolean }
  | { kind: "reading"; href: string; property: string; label: string; text: string; write: false };

const common = new Set(["rt", "if", "n", "id", "range", "step", "units", "precision", "timestamp"]);

interface Known {
  label?: string;
  unit?: string;
  words?: [Parameters<typeof t>[0], Parameters<typeof t>[0]]; // of false and true
  range?: [number, number];
  hide?: boolean;
}

/** What the types say of their properties. */
const known: Record<string, Record<string, Known>> = {
  "oic.r.switch.binary": { value: { label: "Power" } },
  "oic.r.light.dimming": { dimming: { label: "Brightness", unit: "%", range: [0, 100] }, dimmingSetting: { label: "Brightness", unit: "%", range: [0, 100] } },
  "oic.r.door": { open: { label: "Door", words: ["control.closed", "control.open"] }, openState: { hide: true } },
  "oic.r.energy.consumption": { power: { label: "Power", unit: "W" }, energy: { label: "Energy", unit: "Wh" } },
  "oic.r.temperature": {
    temperature: { label: "Temperature" }, target: { label: "Target", range: [5, 35] }, mode: { label: "Mode" }, heating: { label: "Heating", words: ["no", "yes"] },
  },
  "oic.r.humidity": { humidity: { label: "Humidity", unit: "%" } },
  "oic.r.sensor": { value: { label: "Detected", words: ["no", "yes"] } },
};

function of(link: Link, property: string): Known {
  for (const rt of link.rt) {
    const found = known[rt]?.[property];
    if (found) return found;
  }
  return {};
}

/** The controls of one resource in the order of its representation. */
export function controls(link: Link, rep: Rep): Control[] {
  const write = !link.if.some((i) => i === "oic.if.s" || i === "oic.if.r") || link.if.some((i) => i === "oic.if.a" || i === "oic.if.rw");
  const list: Control[] = [];
  for (const [property, value] of Object.entries(rep)) {
    if (common.has(property)) continue;
    const about = of(link, property);
    if (!about.hide) list.push(control(link, rep, property, value, about, write));
  }
  return list;
}

function control(link: Link, rep: Rep, property: string, value: Json, about: Known, write: boolean): Control {
  const label = about.label ?? property;
  const at = { href: link.href, property, label };
  if (typeof value === "boolean" && !about.words && write) return { kind: "switch", ...at, on: value, write };
  const unit = about.unit ?? unitOf(rep);
  if (typeof value === "number" && write) {
    const [min, max] = rangeOf(rep, about);
    if (max > min) return { kind: "range", ...at, value, min, max, step: stepOf(rep, max - min), unit, write };
  }
  return { kind: "reading", ...at, text: reading(value, about, unit), write: false };
}

function reading(value: Json, about: Known, unit: string): string {
  if (typeof value === "boolean") {
    const words = about.words ?? (["no", "yes"] as const);
    return t(value ? words[1] : words[0]);
  }
  if (typeof value === "number") return unit ? `${figure(value)} ${unit}` : figure(value);
  return short(value);
}

function unitOf(rep: Rep): string {
  const units = rep.units;
  if (units === "C" || units === "F") return "°" + units;
  return typeof units === "string" ? units : "";
}

function rangeOf(rep: Rep, about: Known): [number, number] {
  if (Array.isArray(rep.range) && typeof rep.range[0] === "number" && typeof rep.range[1] === "number") return [rep.range[0], rep.range[1]];
  return about.range ?? [0, 0];
}

function stepOf(rep: Rep, span: number): number {
  return typeof rep.step === "number" && rep.step > 0 ? rep.step : span > 50 ? 1 : 0.5;
}

/** The one thing to know of a device, for a list: its first control, in words. */
export function headline(list: Control[]): string {
  const first = list[0];
  if (!first) return "";
  switch (first.kind) {
    case "switch": {
      const text = t(first.on ? "control.on" : "control.off");
      const dim = list.find((c) => c.kind === "range");
      return first.on && dim?.kind === "range" ? `${text}, ${figure(dim.value)} ${dim.unit}` : text;
    }
    case "range":
      return `${figure(first.value)} ${first.unit}`.trim();
    case "reading":
      return first.text;
  }
}

/** How a property is written beside an axis: its unit, or the words for false and true. */
export function scaleOf(link: Link, rep: Rep, property: string): { unit: string; words?: [string, string] } {
  const about = of(link, property);
  if (about.words) return { unit: "", words: [t(about.words[0]), t(about.words[1])] };
  if (typeof rep[property] === "boolean") return { unit: "", words: [t("control.off"), t("control.on")] };
  return { unit: about.unit ?? unitOf(rep) };
}

/** The numeric and boolean properties of a representation, which can be plotted. */
export function plottable(rep: Rep): string[] {
  return Object.entries(rep)
    .filter(([name, value]) => !common.has(name) && (typeof value === "number" || typeof value === "boolean"))
    .map(([name]) => name);
}
