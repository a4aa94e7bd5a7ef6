import { expect, test } from "vitest";
import { aboutOf, documentOf, examples, fresh, plain, thenOf, tidy, whenOf } from "../src/lib/rule";
import type { Rule } from "../src/lib/types";

const door: Rule = {
  id: "1", revision: 3, changed: "", name: "door", limits: {},
  when: { event: { device: "door", href: "/a/door", if: "event.open", for: "5m" } },
  then: [{ command: { device: "lamp", href: "/a/light", set: { value: true } } }, { message: { text: "open" } }, { webhook: { name: "siren" } }],
};

test("in words", () => {
  expect(whenOf(door)).toBe("door/a/door: event.open for 5m");
  expect(whenOf({ ...door, when: { at: { time: "07:30", days: ["mon"] } } })).toBe("at 07:30 (mon)");
  expect(whenOf({ ...door, when: { every: "15m" } })).toBe("every 15m");
  expect(whenOf({ ...door, when: { sun: { event: "sunset", latitude: 1, longitude: 2, offset: "-15m" } } })).toBe("sunset -15m");
  expect(thenOf(door.then)).toBe('lamp/a/light {"value":true} · “open” · asks siren');
});

test("what the form can show", () => {
  expect(plain(door)).toBe(true);
  expect(plain(fresh)).toBe(true);
  for (const { doc } of examples) expect(plain(doc)).toBe(true);
  expect(plain({ ...door, when: {} })).toBe(false);
  expect(plain({ ...door, when: { every: "1h", at: { time: "07:30" } } })).toBe(false);
  expect(plain({ ...door, then: [{ shout: "x" } as never] })).toBe(false);
});

test("what is sent", () => {
  expect(documentOf(door)).toEqual({ name: "door", when: door.when, then: door.then, limits: {} });
  expect(tidy({ ...documentOf(door), when: { event: { device: "door", href: "", if: "" } }, limits: { per_hour: 0, cool_down: "" } })).toEqual({
    name: "door", when: { event: { device: "door" } }, then: door.then,
  });
  expect(tidy({ ...documentOf(door), when: { sun: { event: "sunset", latitude: 0, longitude: 0, offset: "", days: [] } }, then: [{ command: { device: "a", href: "/b", method: "", keep: "" } }], limits: { per_hour: 2 } })).toEqual({
    name: "door", when: { sun: { event: "sunset", latitude: 0, longitude: 0 } }, then: [{ command: { device: "a", href: "/b" } }], limits: { per_hour: 2 },
  });
});

test("what a condition is about", () => {
  expect(aboutOf("has(event.temperature) && event.temperature > 3")).toBe("temperature");
  expect(aboutOf("device.name == 'event'")).toBe("");
  expect(aboutOf(undefined)).toBe("");
});
