import { expect, test } from "vitest";
import { controls, headline, plottable } from "../src/lib/controls";
import type { Link } from "../src/lib/types";

const link = (href: string, rt: string[], ...ifs: string[]): Link => ({ href, rt, if: ["oic.if.baseline", ...ifs], observable: true });

test.each([
  ["lamp", link("/a/light", ["oic.r.switch.binary", "oic.r.light.dimming"], "oic.if.a"), { value: true, dimming: 62 }, ["switch", "range"], "on, 62 %"],
  ["lamp that is off", link("/a/light", ["oic.r.switch.binary", "oic.r.light.dimming"], "oic.if.a"), { value: false, dimming: 62 }, ["switch", "range"], "off"],
  ["door", link("/a/door", ["oic.r.door"], "oic.if.s"), { openState: "Open", open: true }, ["reading"], "open"],
  ["meter", link("/a/meter", ["oic.r.energy.consumption"], "oic.if.s"), { power: 512.25, energy: 3 }, ["reading", "reading"], "512.25 W"],
  ["thermostat", link("/t", ["oic.r.temperature"], "oic.if.a"), { temperature: 21.5, units: "C", range: [5, 30] }, ["range"], "21.5 °C"],
  ["thermostat with a target", link("/t", ["oic.r.temperature"], "oic.if.a"), { temperature: 20.5, target: 21, units: "C", mode: "heat", heating: true }, ["reading", "range", "reading", "reading"], "20.5 °C"],
  ["unknown", link("/x", ["x.odd"], "oic.if.rw"), { rt: ["x.odd"], mode: "eco", flag: true }, ["reading", "switch"], "eco"],
  ["nothing", link("/x", ["x.odd"], "oic.if.rw"), {}, [], ""],
] as const)("%s", (_, at, rep, kinds, line) => {
  const list = controls(at, rep as never);
  expect(list.map((c) => c.kind)).toEqual(kinds);
  expect(headline(list)).toBe(line);
});

test("what has a plot", () => {
  expect(plottable({ rt: ["x"], value: true, temperature: 3, n: "x", range: [1, 2] })).toEqual(["value", "temperature"]);
});
