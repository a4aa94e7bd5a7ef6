import type { Event, Json } from "./types";

/** How much later an event was received than it was true, in ms, if that is worth telling; else 0. */
export function delay(e: Event): number {
  const by = Date.parse(e.time) - Date.parse(e.device_time ?? "");
  return e.late || by > 10_000 ? Math.max(by, 0) || 1 : 0;
}

/** A value as a plot shows it: a number, or 1 and 0 for true and false. */
export function height(rep: Json, property: string): number | undefined {
  if (typeof rep !== "object" || rep === null || Array.isArray(rep)) return undefined;
  const value = rep[property];
  return typeof value === "number" ? value : typeof value === "boolean" ? Number(value) : undefined;
}

/** Of events the points that came late, where they were true, in seconds. */
export function latePoints(events: Event[], property: string): [number, number][] {
  const list: [number, number][] = [];
  for (const e of events) {
    const value = height(e.rep, property);
    if (delay(e) && value !== undefined && e.device_time) list.push([Date.parse(e.device_time) / 1000, value]);
  }
  return list;
}
