import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { browser, Home, shots, show, signedIn } from "./home";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let home: Home;
let chrome: Browser;
let lamp = "";

beforeAll(async () => {
  home = new Home();
  await home.start();
  chrome = await browser();
  lamp = JSON.parse(await home.run("devices", "--json")).devices.find((d: { name: string }) => d.name === "lamp").di;
  await home.run("set", "lamp/a/light", "value=true");
  await home.run("set", "lamp/a/light", "dimming=60");
});
afterAll(async () => {
  await chrome?.close();
  await home?.stop();
});

const pages = ["overview", "devices", "device", "device?tab=resources", "device?tab=commands", "device?tab=rules", "device?tab=raw", "rules", "rules/new", "events",
  "events?device=LAMP&href=/a/light", "commands", "pair", "system", "system?tab=access", "system?tab=webhooks", "system?tab=audit&whose=all", "api", "help"];

test.each([
  ["light", 1280], ["dark", 1280], ["light", 360], ["dark", 360],
] as const)("%s, %i px wide: every page fits, and axe finds nothing", async (colorScheme, width) => {
  const { context, page, troubles } = await signedIn(chrome, home, { colorScheme, viewport: { width, height: 800 }, bypassCSP: true, reducedMotion: "reduce" }); // axe is put into the page
  const wrong: string[] = [];
  for (const name of pages) {
    await show(page, home.url, name.replace(/^device\b/, `devices/${lamp}`).replace("LAMP", lamp));
    if (name === "pair") await page.getByRole("button", { name: "Make a code" }).click();
    await page.screenshot({ path: join(shots, `${name.replace(/\W/g, "-")}-${colorScheme}-${width}.png`) });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (wide > 0) wrong.push(`${name} is ${wide} px wider than the screen`);
    await page.evaluate(axe);
    const found = await page.evaluate(async () => {
      const result = await (globalThis as unknown as { axe: { run(o: object): Promise<{ violations: { id: string; nodes: { html: string; failureSummary: string }[] }[] }> } }).axe.run({ resultTypes: ["violations"] });
      return result.violations.map((v) => `${v.id}: ${v.nodes[0]?.html} ${v.nodes[0]?.failureSummary}`);
    });
    wrong.push(...found.map((one) => `${name}: ${one}`));
  }
  expect([...wrong, ...troubles]).toEqual([]);
  await context.close();
});

test("the empty home teaches, the sign-in fits", async () => {
  const context = await chrome.newContext({ viewport: { width: 360, height: 740 }, bypassCSP: true });
  const page = await context.newPage();
  await page.goto(home.url);
  await page.getByRole("button", { name: "Sign in" }).waitFor();
  await page.screenshot({ path: join(shots, "sign-in-light-360.png") });
  await page.evaluate(axe);
  const found = await page.evaluate(async () => (await (globalThis as unknown as { axe: { run(): Promise<{ violations: { id: string }[] }> } }).axe.run()).violations.map((v) => v.id));
  expect(found).toEqual([]);
  await context.close();
});
