import { short } from "./format";
import { t } from "./texts";
import type { Rule, RuleAction, RuleDocument } from "./types";

/** A rule in two short lines: when, and then. */
export function whenOf(d: RuleDocument): string {
  const { event, at, every, sun } = d.when;
  if (event) {
    const where = `${event.device || event.type || t("rule.any")}${event.href ?? ""}`;
    return [t("rule.when.event", { where }), event.if && `: ${event.if}`, event.for && ` ${t("rule.for", { time: event.for })}`].filter(Boolean).join("");
  }
  if (at) return t("rule.when.at", { time: at.time }) + (at.days?.length ? ` (${at.days.join(" ")})` : "");
  if (every) return t("rule.when.every", { time: every });
  if (sun) return `${sun.event} ${sun.offset ?? ""}`.trim();
  return "";
}

export function thenOf(actions: RuleAction[]): string {
  return actions
    .map((a) => (a.command ? `${a.command.device}${a.command.href} ${short(a.command.set, 60)}` : a.message ? `“${a.message.text}”` : JSON.stringify(a)))
    .join(" · ");
}

/** What a rule's document is without what the server adds to it. */
export function documentOf(rule: Rule): RuleDocument {
  const { name, disabled, when, then, limits } = rule;
  return { name, ...(disabled && { disabled }), when, then, ...(limits && { limits }) };
}

/** Whether the form can show a rule whole; one that it cannot is edited as text. */
export function plain(d: RuleDocument): boolean {
  const { at, sun } = d.when;
  return !sun && !at?.days?.length && !at?.zone && d.then.length > 0 && d.then.every((a) => (a.command && !a.command.keep && (a.command.method ?? "post") === "post") || a.message);
}

export const fresh: RuleDocument = {
  name: "",
  when: { event: { device: "", href: "", if: "" } },
  then: [{ command: { device: "", href: "", set: { value: true } } }],
};

/** Leaves out what is empty, which the server takes for something. */
export function tidy(d: RuleDocument): RuleDocument {
  const out = structuredClone(d);
  const event = out.when.event as Record<string, string | undefined> | undefined;
  if (event) for (const name of Object.keys(event)) if (!event[name]) delete event[name];
  const limits = out.limits as Record<string, unknown> | undefined;
  if (limits) for (const name of Object.keys(limits)) if (!limits[name]) delete limits[name];
  if (limits && Object.keys(limits).length === 0) delete out.limits;
  return out;
}
