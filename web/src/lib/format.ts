import type { Json } from "./types";

const locale = typeof navigator === "undefined" ? "en" : navigator.language;
const number = new Intl.NumberFormat(locale, { maximumFractionDigits: 2 });
const relative = new Intl.RelativeTimeFormat(locale, { numeric: "always", style: "short" });
const clock = new Intl.DateTimeFormat(locale, { timeStyle: "medium" });
const dateClock = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "medium" });

const minutes = new Intl.DateTimeFormat(locale, { timeStyle: "short" });
const date = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short" });

const dayName = new Intl.DateTimeFormat(locale, { weekday: "short", timeZone: "UTC" });

const day = 24 * 3600;

/** How long ago, in words: "4 sec. ago". now and then are in milliseconds. */
export function ago(then: number, now: number): string {
  const s = Math.max(0, Math.round((now - then) / 1000));
  if (s < 60) return relative.format(-s, "second");
  if (s < 3600) return relative.format(-Math.floor(s / 60), "minute");
  if (s < day) return relative.format(-Math.floor(s / 3600), "hour");
  return relative.format(-Math.floor(s / day), "day");
}

/** A time of today as a clock shows it, another with its date. */
export function when(then: number, now: number): string {
  return new Date(then).toDateString() === new Date(now).toDateString() ? clock.format(then) : dateClock.format(then);
}

/** The marks of a time axis, which are step apart, all in seconds: clock times, and below them the date where a day begins. */
export function axis(times: number[], step: number): string[] {
  let before = "";
  return times.map((time) => {
    const today = date.format(time * 1000);
    if (step >= day) return today;
    const text = (step < 60 ? clock : minutes).format(time * 1000);
    const line = today === before ? text : `${text}\n${today}`;
    before = today;
    return line;
  });
}

/** The short name of a day of the week; 0 is Monday. */
export function weekday(n: number): string {
  return dayName.format(Date.UTC(2024, 0, 1 + n)); // which was a Monday
}

/** What is left of a time, as 9:41. */
export function left(ms: number): string {
  const s = Math.max(0, Math.ceil(ms / 1000));
  return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`;
}

export function figure(n: number): string {
  return number.format(n);
}

/** A value as one short line. */
export function short(value: Json | undefined, max = 60): string {
  if (value === undefined || value === null) return "–";
  if (typeof value === "number") return figure(value);
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length > max ? text.slice(0, max - 1) + "…" : text;
}
