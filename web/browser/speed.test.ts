import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Front } from "./front";
import { browser, Home, signedIn, until } from "./home";

// How fast the pages are, on a real server with real devices, beside what is
// aimed at. Only sizes fail a test: times are those of the machine.

let home: Home;
let chrome: Browser;
let crowd = "";
let weather = ""; // a device that has reported each second of the last day
const figures: string[][] = [["what", "measured", "aim"]];

beforeAll(async () => {
  home = new Home();
  crowd = join(home.dir, "crowd");
  execFileSync(process.env.GO ?? "go", ["build", "-trimpath", "-o", crowd, "./browser/crowd"], { env: { ...process.env, CGO_ENABLED: "0" } }); // of what bin/farreach is built from
  await home.start(); // makes the account
  await home.end();
  weather = execFileSync(crowd, ["day", join(home.dir, "data", "store"), "home"], { encoding: "utf8" }).trim();
  await home.start();
  chrome = await browser();
});
afterAll(async () => {
  await chrome?.close();
  await home?.stop();
  const width = figures[0]!.map((_, i) => Math.max(...figures.map((row) => row[i]!.length)));
  console.log(figures.map((row) => row.map((text, i) => text.padEnd(width[i]!)).join("  ").trimEnd()).join("\n"));
});

test("what a first load costs", async () => {
  const { context } = await signedIn(chrome, home);
  for (const slower of [1, 4]) {
    const page = await context.newPage();
    await (await context.newCDPSession(page)).send("Emulation.setCPUThrottlingRate", { rate: slower });
    await page.addInitScript(() => {
      new MutationObserver((_, watch) => {
        if (!document.querySelector("[role=switch]:enabled")) return;
        (globalThis as unknown as { ready: number }).ready = performance.now();
        watch.disconnect();
      }).observe(document, { childList: true, subtree: true, attributes: true });
    });
    await page.goto(home.url);
    await page.getByRole("switch", { name: "lamp Power" }).waitFor();
    const cost = await page.evaluate(() => {
      const all = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")] as PerformanceResourceTiming[];
      const bytes = all.filter((e) => !e.name.includes("/api/")).reduce((sum, e) => sum + e.encodedBodySize, 0);
      return { bytes, ms: (globalThis as unknown as { ready: number }).ready };
    });
    if (slower === 1) figures.push(["first load, compressed", `${(cost.bytes / 1024).toFixed(1)} KiB`, "60 KiB, 80 at most"]);
    figures.push([slower === 1 ? "until the lamp can be switched" : `on a processor ${slower} times slower`, `${cost.ms.toFixed(0)} ms`, "1000 ms"]);
    expect(cost.bytes).toBeLessThanOrEqual(80 * 1024);
    await page.close();
  }
  await context.close();
});

test("a day of one-second data", async () => {
  const { context, page } = await signedIn(chrome, home);
  await page.goto(`${home.url}/#/devices/${weather}?range=1h`);
  await page.locator(".plot canvas").waitFor();
  const times: number[] = [];
  for (let i = 0; i < 12; i++) { // what was stored just now is put into blocks meanwhile
    if (i > 0) await page.waitForTimeout(500);
    await page.getByRole("button", { name: "1h", exact: true }).click();
    await page.locator("button[aria-pressed=true]", { hasText: "1h" }).waitFor();
    times.push(await page.evaluate(async () => {
      const frame = () => new Promise(requestAnimationFrame);
      const plot = document.querySelector<HTMLElement>(".plot")!;
      const come = () => (performance.getEntriesByType("resource") as PerformanceResourceTiming[]).some((e) => e.name.includes("events/series") && e.startTime >= begin);
      const button = [...document.querySelectorAll("button")].find((b) => b.textContent === "24h")!;
      await frame();
      const begin = performance.now(), drawn = plot.dataset.drawn;
      button.click();
      while (!come() || plot.dataset.drawn === drawn) await frame();
      await frame();
      return performance.now() - begin;
    }));
  }
  const { values } = await page.evaluate(async (di) => (await fetch(`/api/v1/events/series?device=${di}&href=/t&property=temperature`)).json(), weather);
  expect(values).toBeGreaterThan(86_000);
  const median = times.slice(-3).sort((a, b) => a - b)[1]!;
  figures.push([`a day of ${values} events, from the click to the plot`, `${median.toFixed(0)} ms, of events without blocks ${times[0]!.toFixed(0)} ms`, "300 ms"]);
  await context.close();
});

/** Counts the frames of two seconds, and how often the first row changes in them; of more if a busy machine needs them for that. */
async function frames(page: Page, scroll: boolean) {
  return page.evaluate(async (moving) => {
    const rows = document.querySelector(".window")!;
    const first = () => rows.querySelector(moving ? ".name" : ".value")?.textContent;
    let count = 0, longest = 0, changes = 0, last = performance.now(), value = first();
    const begin = last;
    while (last - begin < 2000 || (changes === 0 && last - begin < 60_000)) {
      await new Promise(requestAnimationFrame);
      const now = performance.now();
      longest = Math.max(longest, now - last);
      last = now;
      count++;
      if (moving) rows.scrollTop += 400;
      if (first() !== value) {
        changes++;
        value = first();
      }
    }
    return { fps: (count * 1000) / (last - begin), longest, changes, rows: rows.querySelectorAll("[role=row]").length };
  }, scroll);
}

function say(what: string, seen: Awaited<ReturnType<typeof frames>>) {
  figures.push([what, `${seen.fps.toFixed(0)} frames/s, the longest ${seen.longest.toFixed(0)} ms`, "60 frames/s"]);
  expect(seen.rows).toBeLessThan(60); // only what is in sight is drawn
  expect(seen.changes).toBeGreaterThan(0);
}

test("real devices that report all the time", async () => {
  const devices = 990, perSecond = 2000; // an account may have 1,000
  const process: ChildProcess = spawn(crowd, ["live", join(home.dir, "addr.json"), String(devices), String(perSecond)], { stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  process.stdout!.on("data", (text: Buffer) => (said += text));
  try {
    await until("the crowd", () => said.includes("ready"));
    const { context, page } = await signedIn(chrome, home);
    await page.goto(home.url + "/#/devices?q=sensor");
    await page.getByText(`${devices} of `).waitFor();
    const shown = async () => page.evaluate(() => fetch("/api/v1/events?order=desc&limit=1").then((r) => r.json()).then((doc) => doc.events[0].seq as number));
    const begin = [await shown(), performance.now()] as const;
    const seen = await frames(page, false);
    const rate = ((await shown()) - begin[0]) / ((performance.now() - begin[1]) / 1000);
    say(`${devices} devices, ${rate.toFixed(0)} events/s through server and page`, seen);
    await context.close();
  } finally {
    const ended = new Promise((done) => process.once("exit", done));
    process.kill();
    await ended;
  }
});

test.each([
  { devices: 1000, perSecond: 2000, scroll: false },
  { devices: 10_000, perSecond: 0, scroll: true },
])("$devices rows, $perSecond updates a second", async ({ devices, perSecond, scroll }) => {
  const di = (i: number) => `00000000-0000-4000-8000-${String(i).padStart(12, "0")}`;
  const links = [{ href: "/t", rt: ["oic.r.temperature"], if: ["oic.if.s"], observable: true }];
  const front = new Front(home, (say) => {
    const now = () => new Date().toISOString();
    say("hello", { time: now(), resumed: false });
    for (let i = 0; i < devices; i++) say("device", { di: di(i), name: `sensor ${i}`, type: "oic.d.sensor", account: "home", state: "reachable", proven: now(), links });
    say("ready", {}, 1);
    let seq = 1;
    const each = 10; // ms
    const timer = setInterval(() => {
      for (let i = 0; i < (perSecond * each) / 1000; i++) say("event", { seq: ++seq, time: now(), di: di(seq % devices), href: "/t", rep: { temperature: 20 + (seq % 97) / 10 } }, seq);
    }, each);
    return () => clearInterval(timer);
  });
  await front.start();
  const { context, page } = await signedIn(chrome, home, {}, front.url);
  await page.goto(front.url + "/#/devices");
  await page.getByText(new RegExp(`of ${devices.toLocaleString("en")}`)).waitFor();
  say(scroll ? `${devices} rows, scrolled 400 px a frame` : `${devices} rows, ${perSecond} updates/s that the test makes`, await frames(page, scroll));
  await context.close();
  front.stop();
});
