import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Wish } from "../src/lib/wish.svelte";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** An answer that is given by hand. */
function answer() {
  let say!: (why: string) => void;
  const ask = () => new Promise<string>((done) => (say = done));
  return { ask, say: (why: string) => say(why) };
}

test("it stands until the device reports it", async () => {
  const wish = new Wish<boolean>();
  const a = answer();
  const asked = wish.want(true, a.ask);
  expect([wish.value, wish.waiting]).toEqual([true, true]);
  wish.is(true); // said before the answer came
  expect(wish.value).toBe(true);
  a.say("");
  await asked;
  expect([wish.value, wish.waiting]).toEqual([true, false]);
  wish.is(false);
  expect(wish.value).toBe(true);
  wish.is(true);
  expect(wish.value).toBeUndefined();
});

test("it goes back with the reason", async () => {
  const wish = new Wish<number>();
  const a = answer();
  const asked = wish.want(62, a.ask);
  a.say("4.00 out of range");
  await asked;
  expect([wish.value, wish.waiting, wish.refusal]).toEqual([undefined, false, "4.00 out of range"]);
  void wish.want(50, answer().ask);
  expect(wish.refusal).toBe("");
});

test("a device that does something else is believed in the end", async () => {
  const wish = new Wish<number>();
  const a = answer();
  const asked = wish.want(62, a.ask);
  a.say("");
  await asked;
  wish.is(60);
  expect(wish.value).toBe(62);
  vi.advanceTimersByTime(3000);
  expect(wish.value).toBeUndefined();
});

test("the last wish counts", async () => {
  const wish = new Wish<number>();
  const a = answer(), b = answer();
  const first = wish.want(1, a.ask);
  void wish.want(2, b.ask);
  a.say("no");
  await first;
  expect([wish.value, wish.waiting, wish.refusal]).toEqual([2, true, ""]);
});
