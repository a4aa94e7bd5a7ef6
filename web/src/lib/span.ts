/**
 * A stretch of time, in ms, that the address names: ?range=6h goes on with the
 * clock, ?since=…&until=… stands still.
 */
export interface Span {
  since: number;
  until: number;
  range: string; // "": it stands still
}

const hour = 3600_000;
export const ranges: Record<string, number> = { "1h": hour, "6h": 6 * hour, "24h": 24 * hour, "7d": 7 * 24 * hour, "30d": 30 * 24 * hour };
const least = 10_000; // ms, below which nothing is seen any more

export function spanOf(query: URLSearchParams, now: number, usual: string): Span {
  const since = Date.parse(query.get("since") ?? ""), until = Date.parse(query.get("until") ?? "");
  if (since < until) return { since, until, range: "" };
  const asked = query.get("range") ?? "";
  const range = asked in ranges ? asked : usual;
  return { since: now - ranges[range]!, until: now, range };
}

/** What the address is to say of the time between two moments, which may not have come yet. */
export function between(since: number, until: number, now: number): Record<string, string> {
  let width = Math.max(least, until - since);
  let end = (since + until + width) / 2;
  if (end > now) end = now;
  width = Math.min(width, 366 * 24 * hour);
  return { range: "", since: new Date(end - width).toISOString(), until: new Date(end).toISOString() };
}

/** The stretch seen closer (factor < 1) or from farther off, or moved by a part of itself. */
export function moved(span: Span, factor: number, by: number, now: number): Record<string, string> {
  const width = span.until - span.since, middle = (span.since + span.until) / 2 + by * width;
  return between(middle - (width * factor) / 2, middle + (width * factor) / 2, now);
}
