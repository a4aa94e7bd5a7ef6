import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Home, late } from "../src/lib/home.svelte";

beforeEach(() => void vi.useFakeTimers({ now: 1_000_000 }));
afterEach(() => void vi.useRealTimers());

const say = (type: string, doc: object = {}) => ({ id: "", type, data: JSON.stringify(doc) });
const hello = (resumed: boolean) => say("hello", { time: new Date(1_000_000).toISOString(), resumed });
const device = (di: string) => say("device", { di, name: di, type: "oic.d.light", state: "reachable", links: [] });
const event = (seq: number, di: string, at: number, rep: unknown = { value: seq }) => say("event", { seq, time: new Date(at).toISOString(), di, href: "/a", rep });

test("a device that left while nobody listened is gone once the stream is ready again", () => {
  const home = new Home();
  home.take([hello(false), device("a"), device("b"), event(1, "a", 0), event(2, "b", 0), say("ready")]);
  const shape = home.shape;
  home.take([hello(true), device("b")]);
  expect([...home.devices.keys()]).toEqual(["a", "b"]); // not yet: it may still be told
  home.take([event(3, "b", 10), say("ready")]);
  expect([...home.devices.keys()]).toEqual(["b"]);
  expect(home.state("a", "/a")).toBeUndefined();
  expect(home.recent.map((e) => e.seq)).toEqual([3, 2]);
  expect(home.shape).toBeGreaterThan(shape + 1);
});

test("a device that leaves while one listens", () => {
  const home = new Home();
  home.take([hello(false), device("a"), say("ready"), say("gone", { di: "a" })]);
  expect(home.devices.size).toBe(0);
});

test("an older event does not replace a newer one", () => {
  const home = new Home();
  home.take([event(5, "a", 50), event(4, "a", 40)]);
  expect(home.state("a", "/a")?.rep).toEqual({ value: 5 });
});

test.each([
  ["steady, and on time", [0, 10, 20, 30, 40, 50], 65, false],
  ["steady, and too old", [0, 10, 20, 30, 40, 50], 75, true],
  ["now and then", [0, 1, 60, 61, 300, 301], 900, false],
  ["not known for long", [0, 10, 20], 100, false],
] as const)("%s", (_, times, now, want) => {
  const home = new Home();
  home.take(times.map((s, i) => event(i, "a", s * 1000)));
  expect(late(home.state("a", "/a")!, now * 1000)).toBe(want);
});

test("what is no object is no state", () => {
  const home = new Home();
  home.take([event(1, "a", 0, [1]), event(2, "a", 0, null)]);
  expect(home.state("a", "/a")).toBeUndefined();
});

test("states are what is known, and nothing that happens", () => {
  const home = new Home();
  const heard: number[] = [];
  home.onEvent((e) => heard.push(e.seq));
  const state = (...of: Parameters<typeof event>) => ({ ...event(...of), type: "state" });
  home.take([hello(false), device("a"), device("b"), state(0, "b", 0), state(0, "b", 0), state(7, "a", 0), say("ready")]);
  expect(home.state("a", "/a")?.rep).toEqual({ value: 7 });
  expect(home.state("b", "/a")?.rep).toEqual({ value: 0 });
  home.take([event(7, "a", 0), event(8, "a", 0)]); // the first is the state that was told
  expect(heard).toEqual([8]);
  expect(home.recent.map((e) => e.seq)).toEqual([8, 7]);
  home.take([hello(false), device("a"), state(3, "a", 0), say("ready")]); // another store
  expect(home.state("a", "/a")?.rep).toEqual({ value: 3 });
});
