import { expect, test } from "vitest";
import { columns } from "../src/lib/series";

const at = (s: number) => new Date(s * 1000).toISOString();
const bucket = (s: number, v: number) => ({ start: at(s), min: v - 1, max: v + 1, mean: v, last: v, count: 2 });

test("buckets lie where they were heard, and a gap is a gap", () => {
  const buckets = [0, 10, 20, 30, 40, 50, 60, 70, 200, 210].map((s, i) => bucket(1000 + s, i));
  const [times, min, max, last] = columns({ since: at(1000), until: at(1300), width_s: 10, buckets });
  expect(times.slice(7, 10)).toEqual([1075, 1140, 1205]);
  expect(last.slice(7, 10)).toEqual([7, null, 8]);
  expect(min[0]).toBe(-1);
  expect(max[10]).toBe(10);
});

test("what was said before goes on", () => {
  const [times, , , last] = columns({ since: at(1000), until: at(1300), width_s: 10, before: { time: at(900), value: 5 }, buckets: [bucket(1100, 6)] });
  expect([times, last]).toEqual([[1000, 1105], [5, 6]]);
});

test("nothing", () => {
  expect(columns({ since: at(0), until: at(1), width_s: 1, buckets: [] })).toEqual([[], [], [], []]);
});
