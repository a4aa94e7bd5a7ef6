import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { browser, Home, shots, show, signedIn, until } from "./home";

// Every page in light and dark, wide and on a phone: it fits, axe finds nothing,
// and a picture of it is kept for a person's eye.

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let home: Home;
let chrome: Browser;
let lamp = "", meter = "", rule = "";

beforeAll(async () => {
  home = new Home();
  await home.start();
  chrome = await browser();
  [lamp, meter] = [await home.id("lamp"), await home.id("meter")];
  rule = JSON.parse(await home.run("rule", "ls", "--json")).rules[0].id;
  await home.set("lamp/a/light", "value=true");
  await home.set("lamp/a/light", "dimming=60");
  const password = join(home.dir, "ann");
  writeFileSync(password, "correct horse battery");
  await home.run("account", "add", "ann", "--password-file", password);
});
afterAll(async () => {
  await chrome?.close();
  await home?.stop();
});

type Found = { violations: { id: string; nodes: { html: string; failureSummary: string }[] }[] };

/** Takes a picture in both schemes, and returns what is wrong with the page. */
async function look(page: Page, name: string): Promise<string[]> {
  const wrong: string[] = [];
  const width = page.viewportSize()!.width;
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.screenshot({ path: join(shots, `${name.replace(/\W+/g, "-")}-${colorScheme}-${width}.png`), fullPage: true });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (wide > 0) wrong.push(`${name} is ${wide} px wider than ${width} px`);
    await page.evaluate(axe);
    const found = await page.evaluate(async () => (globalThis as unknown as { axe: { run(o: object): Promise<Found> } }).axe.run({ resultTypes: ["violations"] }));
    wrong.push(...found.violations.map((v) => `${name}, ${colorScheme}, ${width} px: ${v.id}: ${v.nodes[0]?.html} ${v.nodes[0]?.failureSummary}`));
  }
  return wrong;
}

const size = (width: number) => ({ viewport: { width, height: 800 }, bypassCSP: true }); // axe is put into the page

test.each([1280, 360])("%i px wide", async (width) => {
  const { context, page, troubles } = await signedIn(chrome, home, size(width));
  const wrong: string[] = [];
  for (const [name, place] of Object.entries({
    "overview": "overview", "devices": "devices", "device": `devices/${lamp}`, "device meter": `devices/${meter}?range=1h`,
    "device resources": `devices/${lamp}?tab=resources`, "device commands": `devices/${lamp}?tab=commands`, "device rules": `devices/${lamp}?tab=rules`, "device raw": `devices/${lamp}?tab=raw`,
    "rules": "rules", "rule": `rules/${rule}`, "rule new": "rules/new", "events": "events", "events plot": `events?device=${meter}&href=/a/meter&range=1h`, "commands": "commands", "pair": "pair", "system": "system", "system access": "system?tab=access", "system webhooks": "system?tab=webhooks", "system audit": "system?tab=audit&whose=all",
    "api": "api", "help": "help",
  })) {
    await show(page, home.url, place);
    if (name === "pair") await page.getByRole("button", { name: "Make a code" }).click();
    if (name === "device meter") await page.locator(".plot canvas").waitFor();
    wrong.push(...(await look(page, name)));
  }
  await page.keyboard.press("Control+k");
  await page.getByRole("combobox").waitFor();
  wrong.push(...(await look(page, "palette")));
  expect([...wrong, ...troubles]).toEqual([]);
  await context.close();
});

test.each([1280, 360])("nothing there yet, %i px wide: the pages teach", async (width) => {
  const context = await chrome.newContext({ ...size(width), locale: "en-GB" });
  const page = await context.newPage();
  await page.goto(home.url);
  await page.getByRole("button", { name: "Sign in" }).waitFor();
  const wrong = await look(page, "sign-in");
  await page.getByLabel("Account").fill("ann");
  await page.getByLabel("Password").fill("wrong");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("alert").waitFor();
  wrong.push(...(await look(page, "sign-in wrong")));
  await page.getByLabel("Password").fill("correct horse battery");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.locator("[data-status=live]").waitFor();
  for (const place of ["overview", "devices", "rules", "events", "commands", "system"]) {
    await show(page, home.url, place);
    wrong.push(...(await look(page, "empty " + place)));
    if (place === "overview" || place === "devices") await page.getByText("No device yet").waitFor();
  }
  expect(wrong).toEqual([]);
  await context.close();
});

test.each([1280, 360])("something is wrong, %i px wide: it is said", async (width) => {
  const { context, page } = await signedIn(chrome, home, size(width));
  await show(page, home.url, "devices/00000000-0000-4000-8000-000000000000");
  await page.getByText("no such device").waitFor();
  const wrong = await look(page, "wrong device");
  await page.goto(home.url + "/#/nowhere");
  await page.getByText("no page here").waitFor();
  wrong.push(...(await look(page, "wrong page")));
  await page.route(/api\/v1\/(rules|runs|events|commands)\b/, (route) => route.fulfill({ status: 503, contentType: "application/problem+json", body: JSON.stringify({ status: 503, detail: "nothing can be stored now; try again" }) }));
  for (const place of ["rules", "events", "commands"]) {
    await page.goto(`${home.url}/#/${place}`);
    await page.getByText("nothing can be stored now").first().waitFor();
    wrong.push(...(await look(page, "wrong " + place)));
  }
  await show(page, home.url, "overview");
  await context.setOffline(true);
  await page.getByText("may have changed").waitFor();
  await page.getByRole("switch", { name: "lamp Power" }).click();
  await page.locator(".toast").waitFor();
  await until("what is hatched", async () => (await page.locator(".waiting").count()) === 0);
  wrong.push(...(await look(page, "wrong offline")));
  expect(wrong).toEqual([]);
  await context.close();
});
