import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { browser, Home, signedIn, until } from "./home";

// The connection is lost, and comes back: the page says so, and misses nothing.

let home: Home;
let chrome: Browser;
let lamp = "";

beforeAll(async () => {
  home = new Home();
  await home.start();
  await home.run("rule", "disable", "lamp-at-the-door");
  lamp = await home.id("lamp");
  chrome = await browser();
});
afterAll(async () => {
  await chrome?.close();
  await home?.stop();
});

/** Dims the lamp, one step after the other: each is in the store before the next. */
const dim = async (...values: number[]) => {
  for (const value of values) {
    await home.set("lamp/a/light", `dimming=${value}`);
    await until(`dimming ${value} in the store`, async () => (await stored()).at(-1) === value);
  }
};

/** What the page shows of the lamp, oldest first: its brightness in each row of the table. */
const rows = async (page: Page) =>
  (await page.locator("tbody tr td:last-child").allTextContents()).map((text) => Number(/dimming\D+(\d+)/.exec(text)?.[1])).reverse();

/** The same as the store has it. */
const stored = async (): Promise<number[]> =>
  JSON.parse(await home.run("events", "--device", "lamp", "--href", "/a/light", "--limit", "1000", "--json")).events.map((e: { rep: { dimming: number } }) => e.rep.dimming);

async function showsAll(page: Page) {
  const kept = await stored();
  let shown: number[] = [];
  await until("every change of the lamp on the page", async () => {
    shown = await rows(page);
    return JSON.stringify(shown) === JSON.stringify(kept);
  }).catch(() => expect(shown).toEqual(kept));
}

test("the server is killed with a page open, and no change is lost", async () => {
  const { context, page } = await signedIn(chrome, home);
  await page.goto(`${home.url}/#/events?device=${lamp}&href=/a/light`);
  await dim(11, 12, 13);
  await showsAll(page);
  const states = await page.locator("[data-status]").evaluateHandle((banner) => {
    const list: string[] = [];
    new MutationObserver(() => list.push(banner.getAttribute("data-status")!)).observe(banner, { attributeFilter: ["data-status"] });
    return list;
  });
  await home.kill();
  await page.getByText("no connection since").waitFor();
  await page.getByRole("alert").getByText("may have changed").waitFor();
  const url = home.url;
  await home.start();
  expect(home.url).toBe(url);
  await dim(14, 15, 16);
  await page.locator("[data-status=live]").waitFor();
  await dim(17);
  await showsAll(page);
  expect((await states.jsonValue()).filter((state, i, all) => state !== all[i - 1])).toEqual(["lost", "catching", "live"]);
  expect((await rows(page)).filter((value) => value < 100)).toEqual([11, 12, 13, 14, 15, 16, 17]); // it begins with 100
  expect(await page.getByText("may have changed").count()).toBe(0);
  await context.close();
});

test("the network goes and comes back: the gap is filled, and what left meanwhile is gone", async () => {
  await home.join("lamp", "shed");
  const { context, page } = await signedIn(chrome, home);
  await page.getByRole("heading", { name: "shed" }).waitFor();
  await page.goto(`${home.url}/#/events?device=${lamp}&href=/a/light`);
  await dim(21);
  await showsAll(page);
  await context.setOffline(true);
  await page.getByText("no connection since").waitFor();
  await dim(22, 23, 24, 25);
  await home.run("devices", "rm", "shed", "--yes");
  await home.join("lamp", "porch");
  await context.setOffline(false);
  await page.locator("[data-status=live]").waitFor();
  await showsAll(page);
  await page.goto(home.url + "/#/");
  await page.getByRole("heading", { name: "porch" }).waitFor();
  expect(await page.getByRole("heading", { name: "shed" }).count()).toBe(0);
  await context.close();
});

test("a switch that nobody can move goes back, and says why", async () => {
  const { context, page } = await signedIn(chrome, home);
  const power = page.getByRole("switch", { name: "lamp Power" });
  const before = await power.getAttribute("aria-checked");
  await context.setOffline(true);
  await page.getByText("no connection since").waitFor();
  await power.click();
  await page.locator(".toast").getByText("lamp was not changed").waitFor();
  await until("the switch as it was", async () => (await power.getAttribute("aria-checked")) === before);
  await context.setOffline(false);
  await page.locator("[data-status=live]").waitFor();
  await power.click();
  await until("the lamp", async () => (await home.run("get", "lamp/a/light")).includes(`"value":${before !== "true"}`));
  await context.close();
});

test("a value that the device refuses goes back, and it is said why", async () => {
  const di = await home.join("thermostat", "attic");
  const { context, page, troubles } = await signedIn(chrome, home);
  await page.goto(`${home.url}/#/devices/${di}`);
  const target = page.getByRole("slider", { name: "attic Target" });
  await target.waitFor();
  await target.evaluate((slider: HTMLInputElement) => {
    slider.max = "90"; // more than the page lets one ask for
    slider.value = "77";
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    slider.dispatchEvent(new Event("change", { bubbles: true }));
  });
  await page.locator(".toast").getByText("target must be 5 to 30").waitFor();
  await until("the slider", async () => (await target.inputValue()) === "21");
  await page.getByRole("tab", { name: "Resources" }).click();
  const resource = page.getByRole("region", { name: "/a/thermostat" });
  await resource.getByRole("button", { name: "Edit" }).click();
  await resource.getByRole("textbox").fill(`{"target": 99}`);
  await resource.getByRole("button", { name: "Send" }).click();
  await resource.getByRole("alert").getByText("target must be 5 to 30").waitFor();
  expect(await home.run("get", "attic/a/thermostat")).toContain(`"target":21`);
  expect(troubles.filter((text) => !text.includes("400"))).toEqual([]);
  await context.close();
});
