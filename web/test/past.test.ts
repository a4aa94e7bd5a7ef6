import { expect, test } from "vitest";
import { delay, height, latePoints } from "../src/lib/past";
import type { Event, Json } from "../src/lib/types";

const event = (time: number, own: number | undefined, rep: Json = { t: 1 }, late = false): Event => ({
  seq: 1, di: "a", href: "/a", rep, time: new Date(time * 1000).toISOString(), ...(own !== undefined && { device_time: new Date(own * 1000).toISOString() }), ...(late && { late }),
});

test.each([
  ["no time of its own", event(100, undefined), 0],
  ["at once", event(100, 99), 0],
  ["a minute later", event(160, 100), 60_000],
  ["out of order", event(101, 100, {}, true), 1000],
  ["from the future", event(100, 300), 0],
] as const)("%s", (_, e, want) => {
  expect(delay(e)).toBe(want);
});

test.each([
  [{ t: 3.5 }, 3.5], [{ t: true }, 1], [{ t: false }, 0], [{ t: "x" }, undefined], [{}, undefined], [null, undefined], [[1], undefined],
] as [Json, number | undefined][])("%j", (rep, want) => {
  expect(height(rep, "t")).toBe(want);
});

test("late points stand where they were true", () => {
  expect(latePoints([event(200, 100, { t: 7 }), event(200, 199, { t: 8 }), event(300, 100, { t: "x" })], "t")).toEqual([[100, 7]]);
});
