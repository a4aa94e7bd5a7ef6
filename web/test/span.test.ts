import { expect, test } from "vitest";
import { between, moved, spanOf } from "../src/lib/span";

const now = Date.parse("2026-03-01T12:00:00Z");
const at = (query: string, usual = "1h") => spanOf(new URLSearchParams(query), now, usual);
const iso = (o: Record<string, string>) => [o.since, o.until];

test.each([
  ["", "1h", 3600],
  ["range=6h", "6h", 6 * 3600],
  ["range=9y", "1h", 3600],
  ["since=2026-03-01T10:00:00Z&until=2026-03-01T11:00:00Z", "", 3600],
  ["since=2026-03-01T11:00:00Z&until=2026-03-01T10:00:00Z", "1h", 3600],
  ["since=yesterday&until=today", "1h", 3600],
] as const)("?%s", (query, range, seconds) => {
  const span = at(query);
  expect([span.range, (span.until - span.since) / 1000]).toEqual([range, seconds]);
});

test("closer, farther, earlier, later", () => {
  const span = at("since=2026-03-01T10:00:00Z&until=2026-03-01T11:00:00Z");
  expect(iso(moved(span, 0.5, 0, now))).toEqual(["2026-03-01T10:15:00.000Z", "2026-03-01T10:45:00.000Z"]);
  expect(iso(moved(span, 2, 0, now))).toEqual(["2026-03-01T09:30:00.000Z", "2026-03-01T11:30:00.000Z"]);
  expect(iso(moved(span, 1, -0.5, now))).toEqual(["2026-03-01T09:30:00.000Z", "2026-03-01T10:30:00.000Z"]);
  expect(iso(moved(span, 1, 5, now))).toEqual(["2026-03-01T11:00:00.000Z", "2026-03-01T12:00:00.000Z"]); // not beyond now
  expect(iso(between(now - 1000, now - 1000, now))).toEqual(["2026-03-01T11:59:50.000Z", "2026-03-01T12:00:00.000Z"]); // never narrower than 10 s
});
