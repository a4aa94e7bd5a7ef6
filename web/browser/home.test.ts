import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { browser, Home, signedIn, until } from "./home";

let home: Home;
let chrome: Browser;

beforeAll(async () => {
  home = new Home();
  await home.start();
  await home.run("rule", "disable", "lamp-at-the-door"); // the lamp is the tests' alone
  chrome = await browser();
});
afterAll(async () => {
  await chrome?.close();
  await home?.stop();
});

test("a link signs in once, a password always", async () => {
  const context = await chrome.newContext();
  const page = await context.newPage();
  const link = await home.link();
  await page.goto(link);
  await page.getByRole("heading", { name: "lamp" }).waitFor();
  expect(page.url()).not.toContain("k="); // nothing secret stays in the address
  const other = await (await chrome.newContext()).newPage();
  await other.goto(link);
  await other.getByText("no longer good").waitFor();
  await other.getByLabel("Account").fill("home");
  await other.getByLabel("Password").fill("wrong horse");
  await other.getByRole("button", { name: "Sign in" }).click();
  await other.getByText("is wrong").waitFor();
  await other.getByLabel("Password").fill(home.password());
  await other.getByRole("button", { name: "Sign in" }).click();
  await other.getByRole("heading", { name: "lamp" }).waitFor();
  await context.close();
  await other.context().close();
});

test("the switch moves the lamp, and the lamp moves the switch", async () => {
  const { context, page, troubles } = await signedIn(chrome, home);
  const power = page.getByRole("switch", { name: "lamp Power" });
  const before = await power.getAttribute("aria-checked");
  await power.click();
  await until("the lamp", async () => (await home.run("get", "lamp/a/light")).includes(`"value":${before !== "true"}`));
  await home.run("set", "lamp/a/light", `value=${before}`);
  await until("the switch", async () => (await power.getAttribute("aria-checked")) === before);
  expect(troubles).toEqual([]);
  await context.close();
});

test("a device that is on XMPP alone has its card, and its control works", async () => {
  const { context, page, troubles } = await signedIn(chrome, home);
  for (const name of ["door", "lamp", "meter", "thermostat"]) await page.getByRole("heading", { name, exact: true }).waitFor();
  const target = page.getByRole("slider", { name: /^thermostat / });
  await target.fill("24");
  await until("the thermostat", async () => (await home.run("get", "thermostat/a/thermostat")).includes(`"target":24`));
  await home.run("set", "thermostat/a/thermostat", "target=19");
  await until("the slider", async () => (await target.inputValue()) === "19");
  await page.getByRole("link", { name: "thermostat", exact: true }).first().click();
  await page.getByText("── XMPP ──").waitFor();
  expect(troubles).toEqual([]);
  await context.close();
});

test("a device joins, whatever its name is", async () => {
  const { context, page, troubles } = await signedIn(chrome, home);
  const name = `<img src=x onerror=alert(1)>`;
  await page.goto(home.url + "/#/pair");
  await page.getByRole("button", { name: "Make a code" }).click();
  const code = (await page.locator("strong.big").textContent())!;
  home.device("--type", "lamp", "--name", name, "--code", code);
  await page.getByText(`${name} has joined.`).waitFor();
  await page.getByRole("link", { name: "See it" }).click();
  await page.getByRole("heading", { name }).waitFor();
  for (const tab of ["Resources", "Commands", "Rules", "Raw"]) await page.getByRole("tab", { name: tab }).click();
  expect(await page.locator("img[src=x]").count()).toBe(0);
  expect(troubles).toEqual([]);
  await context.close();
});

test("a rule is made in the editor, and the door fires it", async () => {
  const { context, page, troubles } = await signedIn(chrome, home);
  await page.goto(home.url + "/#/rules/new");
  await page.getByLabel("Name", { exact: true }).fill("door-dims");
  const when = page.getByRole("group", { name: "When" });
  await when.getByLabel("Device", { exact: true }).fill("door");
  await when.getByLabel("Resource").fill("/a/door");
  await when.getByLabel("Condition").fill("event.open && ");
  await page.locator("#check .bad").waitFor();
  await when.getByLabel("Condition").fill("event.open");
  await page.getByText("✓ ").waitFor();
  const then = page.getByRole("group", { name: "Then" });
  await then.getByLabel("Device", { exact: true }).fill("lamp");
  await then.getByLabel("Resource").fill("/a/light");
  await then.getByLabel("Sets").fill(`{"dimming": 33}`);
  await page.getByRole("button", { name: "Test on the last 7 days" }).click();
  await page.getByText("events read").waitFor();
  await page.getByRole("button", { name: "Save and enable" }).click();
  await page.getByText("door-dims is saved.").waitFor();
  await page.getByRole("region", { name: "Runs" }).getByText("lamp/a/light").first().waitFor(); // the door opens twice in a minute
  await until("the lamp", async () => (await home.run("get", "lamp/a/light")).includes(`"dimming":33`));
  expect(troubles).toEqual([]);
  await context.close();
});

test("all of it by keys", async () => {
  const { context, page, troubles } = await signedIn(chrome, home);
  const power = page.getByRole("switch", { name: "lamp Power" });
  await power.waitFor();
  const focus = () => page.evaluate(() => {
    const it = document.activeElement!, style = getComputedStyle(it);
    return { name: it.getAttribute("aria-label") ?? it.textContent!.trim(), seen: style.outlineStyle !== "none" && style.outlineWidth !== "0px" };
  });
  const passed = [];
  for (let one; one?.name !== "lamp Power" && passed.length < 60; passed.push(one)) {
    await page.keyboard.press("Tab");
    one = await focus();
  }
  expect(passed.at(-1)!.name).toBe("lamp Power");
  expect(passed.filter((one) => !one.seen)).toEqual([]);
  expect(passed[0]!.name).toBe("Skip to content");
  const lamp = async () => (await power.getAttribute("aria-checked")) === "true";
  const moved = async (is: boolean) => until("the lamp", async () => (await home.run("get", "lamp/a/light")).includes(`"value":${is}`));
  const before = await lamp();
  await page.keyboard.press("Space");
  await moved(!before);
  await until("the switch", async () => (await lamp()) === !before);

  await page.keyboard.press("Control+k");
  await page.getByRole("combobox").waitFor();
  await page.keyboard.type(`lamp ${before ? "on" : "off"}`);
  await page.keyboard.press("Enter");
  await moved(before);
  await page.keyboard.press("g");
  await page.keyboard.press("d");
  await page.getByRole("heading", { name: "Devices", exact: true }).waitFor();
  await page.keyboard.press("/");
  await page.keyboard.type("meter");
  await page.getByText("1 of").waitFor();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.keyboard.press("j");
  await until("the row", async () => (await focus()).name.includes("meter"));
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "meter" }).waitFor();
  await page.getByRole("tab", { name: "Resources" }).waitFor();
  await page.getByRole("tab").first().focus();
  await page.keyboard.press("ArrowRight");
  await until("the next tab", async () => (await page.getByRole("tab").nth(1).getAttribute("aria-selected")) === "true");
  await page.keyboard.press("Control+k");
  await page.getByRole("combobox").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("combobox").waitFor({ state: "hidden" });
  await page.keyboard.press("?");
  await page.getByRole("heading", { name: "Help" }).waitFor();
  expect(troubles).toEqual([]);
  await context.close();
});

test("signed out everywhere", async () => {
  const one = await signedIn(chrome, home);
  const two = await signedIn(chrome, home);
  await two.page.locator("summary", { hasText: "home" }).click();
  await two.page.getByRole("button", { name: "Sign out everywhere" }).click();
  await two.page.getByRole("button", { name: "Sign in" }).waitFor();
  await one.page.getByRole("button", { name: "Sign in" }).waitFor();
  await one.context.close();
  await two.context.close();
});
