import { expect, test } from "vitest";
import { documentOf, fresh, plain, thenOf, tidy, whenOf } from "../src/lib/rule";
import type { Rule } from "../src/lib/types";

const door: Rule = {
  id: "1", revision: 3, changed: "", name: "door", limits: {},
  when: { event: { device: "door", href: "/a/door", if: "event.open", for: "5m" } },
  then: [{ command: { device: "lamp", href: "/a/light", set: { value: true } } }, { message: { text: "open" } }],
};

test("in words", () => {
  expect(whenOf(door)).toBe("door/a/door: event.open for 5m");
  expect(whenOf({ ...door, when: { at: { time: "07:30", days: ["mon"] } } })).toBe("at 07:30 (mon)");
  expect(whenOf({ ...door, when: { every: "15m" } })).toBe("every 15m");
  expect(thenOf(door.then)).toBe('lamp/a/light {"value":true} · “open”');
});

test("what the form can show", () => {
  expect(plain(door)).toBe(true);
  expect(plain({ ...door, when: { sun: { event: "sunset", latitude: 1, longitude: 2 } } })).toBe(false);
  expect(plain({ ...door, then: [{ command: { device: "lamp", href: "/a", method: "put" } }] })).toBe(false);
  expect(plain(fresh)).toBe(true);
});

test("what is sent", () => {
  expect(documentOf(door)).toEqual({ name: "door", when: door.when, then: door.then, limits: {} });
  expect(tidy({ ...documentOf(door), when: { event: { device: "door", href: "", if: "" } }, limits: { per_hour: 0 } })).toEqual({
    name: "door", when: { event: { device: "door" } }, then: door.then,
  });
});
