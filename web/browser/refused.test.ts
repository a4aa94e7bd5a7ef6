import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Browser, Page, Request } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Front } from "./front";
import { browser, Home, show, signedIn, until } from "./home";

// Who is not signed in, another site, and what foreign people write into names:
// refused, or shown as it is and inert.

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

async function signIn(page: Page) {
  await page.getByLabel("Account").fill("home");
  await page.getByLabel("Password").fill(home.password());
  await page.getByRole("button", { name: "Sign in" }).click();
}

test("a forged cookie is none", async () => {
  const { context } = await signedIn(chrome, home);
  const [cookie] = await context.cookies();
  expect(cookie).toMatchObject({ name: "farreach", httpOnly: true, sameSite: "Strict" });
  const change = (value: string) => value.slice(0, -2) + (value.endsWith("AA") ? "BB" : "AA");
  for (const value of [change(cookie!.value), "", "x".repeat(43), "admin"]) {
    const forger = await chrome.newContext();
    await forger.addCookies([{ ...cookie!, value }]);
    const page = await forger.newPage();
    await page.goto(home.url + "/#/devices");
    await page.getByRole("button", { name: "Sign in" }).waitFor();
    expect(await page.evaluate(async () => (await fetch("/api/v1/devices")).status)).toBe(401);
    await forger.close();
  }
  await context.close();
});

test.each([
  ["was ended elsewhere", async (page: Page) => {
    const other = await signedIn(chrome, home);
    expect(await other.page.evaluate(async () => (await fetch("/api/v1/session?everywhere=true", { method: "DELETE" })).status)).toBe(204);
    await other.context.close();
    await page.getByRole("button", { name: "Sign in" }).waitFor(); // by itself: what is open ends
  }],
  ["has expired, so that the browser shows its cookie no more", async (page: Page) => {
    await page.context().clearCookies();
    await page.locator(".window a").first().click(); // the page of the lamp asks for its past
    await page.getByRole("button", { name: "Sign in" }).waitFor();
  }],
])("a session that %s: one signs in again, and is where one was", async (_, end) => {
  const { context, page } = await signedIn(chrome, home);
  await page.goto(home.url + "/#/devices?q=lamp");
  await page.getByText("1 of").waitFor();
  await end(page);
  const place = page.url();
  await signIn(page);
  await page.locator("[data-status=live]").waitFor();
  expect(page.url()).toBe(place);
  const dimming = 20 + (Date.now() % 70);
  await home.set("lamp/a/light", "value=true", `dimming=${dimming}`);
  await page.locator("main").getByText(`${dimming} %`).first().waitFor(); // and it is live
  await context.close();
});

test("another site changes nothing, and cannot frame a page", async () => {
  const { context, page } = await signedIn(chrome, home);
  const before = await home.run("get", "lamp/a/light");
  const sent = (await home.run("commands", "ls", "--json")).length;
  const target = `${home.url}/api/v1/devices/${lamp}/resources/a/light`;
  const evil = `<!doctype html><meta charset=utf-8><iframe name=form></iframe><iframe name=framed src="${home.url}/"></iframe>
    <form method=post enctype=text/plain target=form action="${target}"><input name='{"dimming":1,"x":"' value='"}'></form>
    <script>
      document.forms[0].submit();
      const ask = (url, init) => fetch(url, { credentials: "include", ...init }).catch(() => {});
      window.all = Promise.all([
        ask("${target}", { method: "POST", mode: "no-cors", body: '{"dimming":2}' }),
        ask("${target}", { method: "POST", headers: { "Content-Type": "application/json" }, body: '{"dimming":3}' }),
        ask("${target}", { method: "PUT", body: '{"dimming":4}' }),
        ask("${home.url}/api/v1/session?everywhere=true", { method: "DELETE" }),
        ask("${home.url}/api/v1/devices").then((r) => r && r.text()),
      ]);
    </script>`;
  const server = createServer((_, res) => res.writeHead(200, { "Content-Type": "text/html" }).end(evil));
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  for (const site of [`http://localhost:${port}`, `http://127.0.0.1:${port}`]) { // another site; another origin of the same, which gets the cookie
    let ended = 0;
    const other = await context.newPage();
    const count = (r: Request) => r.method() === "POST" && ended++; // both that need no leave
    other.on("requestfinished", count);
    other.on("requestfailed", count);
    await other.goto(site);
    const read = await other.evaluate(() => (globalThis as unknown as { all: Promise<unknown[]> }).all);
    expect(read.map((text) => typeof text)).not.toContain("string"); // no answer can be read
    await until("the form", () => ended >= 2);
    await until("the frame that stays empty", () => other.frames().some((f) => f.url().startsWith("chrome-error:")));
    await other.close();
  }
  server.close();
  expect(await home.run("get", "lamp/a/light")).toBe(before);
  expect((await home.run("commands", "ls", "--json")).length).toBe(sent);
  await page.locator("[data-status=live]").waitFor(); // and nobody is signed out
  expect(await page.evaluate(async (url) => (await fetch(url, { method: "POST", headers: { "Content-Type": "application/json" }, body: '{"dimming":5}' })).status, target)).toBe(200); // what was refused is right otherwise
  expect(await home.run("get", "lamp/a/light")).toContain(`"dimming":5}`);
  await context.close();
});

const hostile = [`<img src=x onerror=alert(1)>`, `"><script>alert(1)</script>`, `</title></style><svg onload=alert(1)>`, `javascript:alert(1)`, `{@html "<b id=b>"}`];

test("script in whatever a device says is text", async () => {
  const di = (i: number) => `00000000-0000-4000-8000-${String(i).padStart(12, "0")}`;
  const front = new Front(home, (say) => {
    const time = new Date().toISOString();
    say("hello", { time, resumed: false });
    hostile.forEach((text, i) => say("device", { di: di(i), name: text, type: text, account: text, gateway: text, state: "reachable", proven: time, links: [{ href: "/" + text, rt: [text], if: [text], title: text, observable: true }] }));
    say("ready", {}, 1);
    hostile.forEach((text, i) => say("event", { seq: i + 2, time, di: di(i), name: text, href: "/" + text, rep: { [text]: text, value: text, units: text, more: { [text]: [text] } } }, i + 2));
  });
  await front.start();
  const { context, page, troubles } = await signedIn(chrome, home, {}, front.url);
  await page.getByRole("heading", { name: hostile[0]! }).waitFor();
  for (const place of ["devices", "events", "rules/new", ...hostile.flatMap((_, i) => ["control", "resources", "rules", "commands", "raw"].map((tab) => `devices/${di(i)}?tab=${tab}`))]) {
    await show(page, front.url, place);
    expect(await page.locator("img[src=x], svg[onload], #b, a[href^=javascript]").count(), place).toBe(0);
  }
  await page.keyboard.press("Control+k");
  await page.getByRole("combobox").fill("onerror");
  await page.getByRole("option").first().getByText(hostile[0]!).waitFor();
  expect(troubles.filter((text) => !text.includes("404"))).toEqual([]); // the store has no such device
  await context.close();
  front.stop();
});

test("script in whatever a person names is text, or refused", async () => {
  const { context, page, troubles } = await signedIn(chrome, home);
  const taken: string[] = [];
  for (const text of hostile) {
    for (const [path, body] of [
      ["tokens", { name: text, scope: "read" }],
      ["webhooks", { name: text, url: "https://example.org/" }],
      ["webhooks", { name: "w" + hostile.indexOf(text), url: "https://example.org/" + text }],
      ["rules", { name: text, when: { event: { device: "lamp", href: "/a/light" } }, then: [{ message: { text } }] }],
      ["rules", { name: "r" + hostile.indexOf(text), when: { event: { device: text, href: text, if: text } }, then: [{ message: { text } }] }],
      ["rules", { name: "s" + hostile.indexOf(text), when: { event: { device: "lamp", href: "/a/light" } }, then: [{ message: { text } }, { command: { device: text, href: "/" + text, set: { [text]: text } } }] }],
    ] as const) {
      const status = await page.evaluate(async ([to, doc]) => (await fetch("/api/v1/" + to, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(doc) })).status, [path, body] as const);
      expect([201, 400, 403, 409, 422], `${path} ${text}`).toContain(status);
      if (status === 201) taken.push(path);
    }
  }
  expect(new Set(taken)).toEqual(new Set(["tokens", "webhooks", "rules"]));
  let dimming = 7;
  await until("a run", async () => {
    await home.set("lamp/a/light", `dimming=${dimming++ % 50}`); // which fires them
    return (await home.run("rule", "runs", "--json")).includes("onerror");
  });
  const rules: { id: string }[] = JSON.parse(await page.evaluate(async () => (await fetch("/api/v1/rules")).text())).rules;
  for (const place of ["rules", "system", "commands", ...rules.map((rule) => `rules/${rule.id}`)]) {
    await show(page, home.url, place);
    expect(await page.locator("img[src=x], svg[onload], #b, a[href^=javascript]").count(), place).toBe(0);
  }
  expect(troubles.filter((text) => !/status of 4\d\d/.test(text))).toEqual([]);
  await context.close();
});
