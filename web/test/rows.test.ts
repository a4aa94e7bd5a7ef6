import { expect, test } from "vitest";
import { next } from "../src/lib/rows";

test.each([
  ["j", -1, 3, 0], ["k", -1, 3, 0], ["End", -1, 3, 2], ["Home", -1, 3, 0],
  ["j", 0, 3, 1], ["ArrowDown", 2, 3, 2], ["ArrowUp", 0, 3, 0], ["k", 2, 3, 1], ["Home", 2, 3, 0], ["End", 0, 3, 2],
  ["x", 0, 3, undefined], ["j", -1, 0, undefined],
] as const)("%s from %i of %i", (key, at, n, want) => {
  expect(next(key, at, n)).toBe(want);
});
