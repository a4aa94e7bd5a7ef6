import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { browser, Home } from "./home";

/**
 * A server in front of the real one, which passes everything on but the live
 * stream: that it makes itself, as large and as fast as a test wants it.
 */
class Crowd {
  private server: Server | undefined;
  url = "";

  constructor(
    private readonly home: Home,
    readonly devices: number,
    readonly perSecond: number,
  ) {}

  async start() {
    this.server = createServer((req, res) => (req.url === "/api/v1/live" ? this.live(res) : this.pass(req, res)));
    await new Promise<void>((done) => this.server!.listen(0, "127.0.0.1", done));
    this.url = `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  stop() {
    this.server?.closeAllConnections();
    this.server?.close();
  }

  private pass(req: IncomingMessage, res: ServerResponse) {
    const to = request(this.home.url + req.url, { method: req.method!, headers: { ...req.headers, host: new URL(this.home.url).host, origin: "" } }, (answer) => {
      res.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(res);
    });
    req.pipe(to);
  }

  private live(res: ServerResponse) {
    res.writeHead(200, { "Content-Type": "text/event-stream" });
    const say = (type: string, doc: object, id = "") => `${id && `id: ${id}\n`}event: ${type}\ndata: ${JSON.stringify(doc)}\n\n`;
    const di = (i: number) => `00000000-0000-4000-8000-${String(i).padStart(12, "0")}`;
    const links = [{ href: "/t", rt: ["oic.r.temperature"], if: ["oic.if.s"], observable: true }];
    const now = () => new Date().toISOString();
    res.write(say("hello", { time: now(), resumed: false }));
    for (let i = 0; i < this.devices; i++) {
      res.write(say("device", { di: di(i), name: `sensor ${i}`, type: "oic.d.sensor", account: "home", state: "reachable", proven: now(), links }));
    }
    res.write(say("ready", {}));
    let seq = 1;
    const each = 10; // ms
    const timer = setInterval(() => {
      let text = "";
      for (let i = 0; i < (this.perSecond * each) / 1000; i++, seq++) {
        text += say("event", { seq, time: now(), di: di(seq % this.devices), href: "/t", rep: { temperature: 20 + (seq % 100) / 10 } }, String(seq));
      }
      if (text) res.write(text);
    }, each);
    res.on("close", () => clearInterval(timer));
  }
}

let home: Home;
let chrome: Browser;

beforeAll(async () => {
  home = new Home();
  await home.start();
  chrome = await browser();
});
afterAll(async () => {
  await chrome?.close();
  await home?.stop();
});

test.each([
  { devices: 1000, perSecond: 2000, scroll: false },
  { devices: 10_000, perSecond: 0, scroll: true },
])("$devices rows, $perSecond updates a second", async ({ devices, perSecond, scroll }) => {
  const crowd = new Crowd(home, devices, perSecond);
  await crowd.start();
  const context = await chrome.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  await page.goto((await home.link()).replace(home.url, crowd.url));
  await page.locator("[data-status=live]").waitFor();
  await page.goto(crowd.url + "/#/devices");
  await page.getByText(new RegExp(`of ${devices.toLocaleString("en")}`)).waitFor();
  const seen = await page.evaluate(async (moving) => {
    const rows = document.querySelector(".window")!;
    const first = () => rows.querySelector(moving ? ".name" : ".value")?.textContent;
    let frames = 0, longest = 0, changes = 0, last = performance.now(), value = first();
    const begin = last;
    while (last - begin < 3000) {
      await new Promise(requestAnimationFrame);
      const now = performance.now();
      longest = Math.max(longest, now - last);
      last = now;
      frames++;
      if (moving) rows.scrollTop += 400;
      if (first() !== value) {
        changes++;
        value = first();
      }
    }
    return { fps: (frames * 1000) / (last - begin), longest, changes, rows: rows.querySelectorAll("[role=row]").length };
  }, scroll);
  console.log(`${devices} rows, ${perSecond} updates/s${scroll ? ", scrolling" : ""}: ${seen.fps.toFixed(0)} frames/s, the longest ${seen.longest.toFixed(0)} ms, ${seen.rows} rows drawn`);
  expect(seen.rows).toBeLessThan(60);
  expect(seen.changes).toBeGreaterThan(0);
  await context.close();
  crowd.stop();
});

test("a day of one-second data", async () => {
  const context = await chrome.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  await page.goto(await home.link());
  await page.locator("[data-status=live]").waitFor();
  const meter = JSON.parse(await home.run("devices", "--json")).devices.find((d: { name: string }) => d.name === "meter").di;
  const until = Math.floor(Date.now() / 1000) * 1000, width = 86.4;
  const buckets = Array.from({ length: 1000 }, (_, i) => ({ start: new Date(until - (1000 - i) * width * 1000).toISOString(), min: 200 + Math.sin(i / 9) * 20, max: 240 + Math.sin(i / 9) * 20, mean: 220, last: 221, count: 86 }));
  await page.route("**/events/series?*", (r) => r.fulfill({ json: { since: new Date(until - 86400_000).toISOString(), until: new Date(until).toISOString(), width_s: width, buckets } }));
  await page.goto(`${home.url}/#/devices/${meter}?range=24h`);
  await page.locator(".u-over").waitFor();
  const ms = await page.evaluate(async () => {
    const button = [...document.querySelectorAll("button")].find((b) => b.textContent === "7d")!;
    const begin = performance.now();
    const drawn = () => Number(document.querySelector<HTMLElement>(".plot")?.dataset.drawn);
    const before = drawn();
    button.click();
    while (!(drawn() > before)) await new Promise(requestAnimationFrame);
    await new Promise(requestAnimationFrame);
    return performance.now() - begin;
  });
  console.log(`a plot of 1,000 columns: ${ms.toFixed(0)} ms from the click to the picture`);
  await context.close();
});
