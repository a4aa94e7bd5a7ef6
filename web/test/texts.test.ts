import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { t } from "../src/lib/texts";

const dir = join(import.meta.dirname, "../src");
const source = readdirSync(dir, { recursive: true, encoding: "utf8" })
  .filter((f) => /\.(svelte|ts)$/.test(f))
  .map((f) => readFileSync(join(dir, f), "utf8"));

test("texts with values", () => {
  expect(t("overview.devices", { n: 1 })).toBe("1 device");
  expect(t("overview.devices", { n: 1234 })).toMatch(/^1.?234 devices$/);
  expect(t("devices.none", { text: "<b>" })).toBe("No device matches “<b>”.");
});

test("a word that the catalogue does not have", () => {
  expect(t("command.pondering" as never)).toBe("pondering");
});

test("each text of the catalogue is shown somewhere", () => {
  const catalogue = source.find((text) => text.includes("const texts = {"))!;
  const others = source.filter((text) => text !== catalogue).join("\n");
  const composed = [...others.matchAll(/`([\w.]+\.)\$\{/g)].map((m) => m[1]!); // t(`state.${…}`)
  const idle = [...catalogue.matchAll(/^ {2}"([\w.-]+)":/gm)].map((m) => m[1]!).filter((key) => !others.includes(`"${key}"`) && !composed.some((p) => key.startsWith(p)));
  expect(idle).toEqual([]);
});
