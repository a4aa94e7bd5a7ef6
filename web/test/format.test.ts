import { expect, test } from "vitest";
import { ago, axis, left, short, weekday } from "../src/lib/format";

test.each([
  [4, "4 sec. ago"], [90, "1 min. ago"], [7200, "2 hr. ago"], [3 * 86400, "3 days ago"], [-5, "0 sec. ago"],
] as const)("%i s", (s, want) => {
  expect(ago(0, s * 1000).replace(/(sec|min|hr)\b\.?/, "$1.")).toBe(want);
});

test("a time axis says the date once a day", () => {
  const noon = new Date(2026, 2, 1, 12).getTime() / 1000;
  const marks = axis([noon, noon + 3600, noon + 13 * 3600], 3600);
  expect(marks.map((m) => m.split("\n").length)).toEqual([2, 1, 2]);
  expect(axis([noon], 86400)[0]).not.toContain(":");
  expect(axis([noon, noon + 1], 1)[1]).toMatch(/00.01/);
});

test("words", () => {
  expect(left(581_000)).toBe("9:41");
  expect(left(-1)).toBe("0:00");
  expect([0, 6].map(weekday)).toEqual(["Mon", "Sun"]);
  expect([short(null), short("x".repeat(70)).length, short({ a: 1 })]).toEqual(["–", 60, '{"a":1}']);
});
