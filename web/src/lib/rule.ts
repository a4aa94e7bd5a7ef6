import { short } from "./format";
import { t, type Text } from "./texts";
import type { Json, Rule, RuleAction, RuleDocument, Run } from "./types";

/** A rule in two short lines: when, and then. */
export function whenOf(d: RuleDocument): string {
  const { event, at, every, sun } = d.when;
  if (event) {
    const where = `${event.device || event.type || t("rule.any")}${event.href ?? ""}`;
    return [t("rule.when.event", { where }), event.if && `: ${event.if}`, event.for && ` ${t("rule.for", { time: event.for })}`].filter(Boolean).join("");
  }
  if (at) return t("rule.when.at", { time: at.time }) + (at.days?.length ? ` (${at.days.join(" ")})` : "");
  if (every) return t("rule.when.every", { time: every });
  if (sun) return `${t(sun.event === "sunset" ? "rule.sunset" : "rule.sunrise")} ${sun.offset ?? ""}`.trim();
  return "";
}

export function thenOf(actions: RuleAction[]): string {
  return actions.map(actionOf).join(" · ");
}

function actionOf(a: RuleAction): string {
  if (a.command) return `${a.command.device}${a.command.href} ${short(a.command.set, 60)}`;
  if (a.message) return `“${a.message.text}”`;
  if (a.webhook) return t("rule.asks", { name: a.webhook.name });
  return JSON.stringify(a);
}

/** What became of an action of a run, in a word. */
export function outcomeOf(d: Run["do"][number]): string {
  return d.problem ?? (d.state ? t(`${d.webhook ? "delivery" : "command"}.${d.state}` as Text) : "");
}

/** What a rule's document is without what the server adds to it. */
export function documentOf(rule: Rule): RuleDocument {
  const { name, disabled, when, then, limits } = rule;
  return { name, ...(disabled && { disabled }), when, then, ...(limits && { limits }) };
}

/** Whether the form can show a rule whole; one that it cannot is edited as text. */
export function plain(d: RuleDocument): boolean {
  const ways = ["event", "at", "every", "sun"].filter((way) => way in d.when);
  return ways.length === 1 && Object.keys(d.when).length === 1 && d.then.every((a) => Object.keys(a).length === 1 && (a.command || a.message || a.webhook));
}

export const fresh: RuleDocument = {
  name: "",
  when: { event: { device: "", href: "", if: "" } },
  then: [{ command: { device: "", href: "", set: { value: true } } }],
};

/** Rules to begin with: what a person often wants, to be filled in. */
export const examples: { text: Text; doc: RuleDocument }[] = [
  {
    text: "rule.example.light",
    doc: { name: "light-at-the-door", when: { event: { device: "door", href: "/a/door", if: "event.open" } }, then: [{ command: { device: "lamp", href: "/a/light", set: { value: true } } }] },
  },
  {
    text: "rule.example.warm",
    doc: { name: "too-warm", when: { event: { device: "", href: "", if: "has(event.temperature) && event.temperature > 26", for: "5m" } }, then: [{ message: { text: "{{device.name}}: {{event.temperature}} °C" } }], limits: { per_hour: 1 } },
  },
  {
    text: "rule.example.night",
    doc: { name: "lights-out", when: { at: { time: "23:00", days: ["sun", "mon", "tue", "wed", "thu"] } }, then: [{ command: { device: "lamp", href: "/a/light", set: { value: false } } }] },
  },
  {
    text: "rule.example.dusk",
    doc: { name: "light-at-dusk", when: { sun: { event: "sunset", latitude: 52.5, longitude: 13.4, offset: "-15m" } }, then: [{ command: { device: "lamp", href: "/a/light", set: { value: true } } }] },
  },
];

/** Leaves out what is empty, which the server takes for something. */
export function tidy(d: RuleDocument): RuleDocument {
  const out = structuredClone(d);
  for (const part of [out.when.event, out.when.at, out.when.sun, ...out.then.map((a) => a.command)]) drop(part);
  if (drop(out.limits)) delete out.limits;
  return out;
}

/** Drops the empty members of a part of a rule; true if none is left. */
function drop(part: object | undefined): boolean {
  if (!part) return false;
  const members = part as Record<string, Json | undefined>;
  for (const [name, value] of Object.entries(members)) {
    const empty = value === "" || value === undefined || (Array.isArray(value) && value.length === 0) || (name === "per_hour" && !value);
    if (empty) delete members[name];
  }
  return Object.keys(members).length === 0;
}

/** The property that a condition is about, if it is about one of the event. */
export function aboutOf(condition: string | undefined): string {
  return /\bevent\.([A-Za-z_]\w*)/.exec(condition ?? "")?.[1] ?? "";
}
