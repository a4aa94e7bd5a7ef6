import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";

/** The program that is tested, and the browser it is tested with. */
export const program = resolve(process.env.FARREACH ?? "../bin/farreach");
const chrome = process.env.CHROMIUM ?? "/usr/bin/chromium";
const quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

const patience = 60_000; // ms; what takes as long on a busy machine is not wrong

export const shots = resolve("shots"); // pictures of every page, kept by CI

/** A real server with a simulated home, in a directory of its own. */
export class Home {
  readonly dir = mkdtempSync(join(tmpdir(), "farreach-web-"));
  private process: ChildProcess | undefined;
  private children: ChildProcess[] = [];
  url = "";

  async start() {
    const addr = join(this.dir, "addr.json");
    rmSync(addr, { force: true });
    this.process = spawn(program, ["up", "--demo", "--port-offset", "auto", "--data", join(this.dir, "data"), "--profile-dir", join(this.dir, "profiles"), "--addr-file", addr], {
      env: { ...process.env, HOME: this.dir },
      stdio: "ignore",
    });
    await until("the server", () => existsSync(addr));
    this.url = "http://" + JSON.parse(readFileSync(addr, "utf8")).http;
  }

  /** Ends the server as a power cut would. */
  kill = () => this.end("SIGKILL");

  async end(signal: NodeJS.Signals = "SIGTERM") {
    const ended = new Promise((done) => this.process!.once("exit", done));
    this.process!.kill(signal);
    await ended;
  }

  /** Runs a command of the program and returns what it prints. */
  async run(...args: string[]): Promise<string> {
    const { stdout } = await promisify(execFile)(program, [...args, "--profile-dir", join(this.dir, "profiles")], { env: { ...process.env, HOME: this.dir }, encoding: "utf8" });
    return stdout;
  }

  /** The id of a device that the cloud knows, once it can be reached. */
  async id(name: string): Promise<string> {
    let di = "";
    await until(name, async () => {
      const devices: { name: string; di: string; state: string }[] = JSON.parse(await this.run("devices", "--json")).devices;
      di = devices.find((d) => d.name === name && d.state === "reachable")?.di ?? "";
      return di !== "";
    });
    return di;
  }

  /** Makes a device join, and returns its id. */
  async join(type: string, name: string): Promise<string> {
    this.device("--type", type, "--name", name, "--code", (await this.run("pair")).split("\t")[0]!.trim());
    return this.id(name);
  }

  /** Changes a resource, as soon as its device is there. */
  async set(href: string, ...values: string[]) {
    await until(href, () => this.run("set", href, ...values).then(() => true, () => false));
  }

  /** Runs a device until the home stops. */
  device(...args: string[]) {
    const state = join(this.dir, "device" + this.children.length);
    this.children.push(spawn(program, ["device", ...args, "--state", state, "--profile-dir", join(this.dir, "profiles")], { env: { ...process.env, HOME: this.dir }, stdio: "ignore" }));
  }

  password(): string {
    return readFileSync(join(this.dir, "data", "password"), "utf8").trim();
  }

  async link(): Promise<string> {
    return (await this.run("open")).split("\t")[0]!;
  }

  async stop() {
    for (const child of [...this.children, this.process]) {
      if (!child || child.exitCode !== null || child.signalCode !== null) continue;
      const ended = new Promise((done) => child.once("exit", done));
      child.kill("SIGTERM");
      await ended;
    }
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export async function browser(): Promise<Browser> {
  mkdirSync(shots, { recursive: true });
  return chromium.launch({ executablePath: chrome, args: quiet });
}

/** A page that is signed in, at the home or what stands in front of it, and the troubles that it reports. */
export async function signedIn(b: Browser, home: Home, options: Parameters<Browser["newContext"]>[0] = {}, url = home.url): Promise<{ context: BrowserContext; page: Page; troubles: string[] }> {
  const context = await b.newContext({ viewport: { width: 1280, height: 800 }, locale: "en-GB", ...options });
  await context.addInitScript(() => document.addEventListener("securitypolicyviolation", (e) => console.error(`policy: ${e.violatedDirective} ${e.blockedURI}`)));
  const page = await context.newPage();
  page.setDefaultTimeout(patience);
  const troubles: string[] = [];
  page.on("pageerror", (err) => troubles.push(err.message));
  page.on("console", (m) => m.type() === "error" && troubles.push(m.text()));
  page.on("dialog", (d) => {
    troubles.push("dialog: " + d.message());
    void d.dismiss();
  });
  await page.goto((await home.link()).replace(home.url, url));
  await page.locator("[data-status=live]").waitFor();
  return { context, page, troubles };
}

/** Goes to a place of the page, and waits until it shows what there is. */
export async function show(page: Page, url: string, place: string) {
  await page.goto(`${url}/#/${place}`);
  await page.locator(`nav a[href="#/${place.split(/[/?]/)[0]}"][aria-current=page]`).waitFor({ state: "attached" });
  await page.locator("h1").first().waitFor({ state: "attached" });
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))); // it has begun to load what it shows
  await until(place, async () => (await page.getByText("Loading …").count()) === 0);
}

export async function until(what: string, is: () => boolean | Promise<boolean>) {
  const end = Date.now() + patience;
  while (!(await is())) {
    if (Date.now() > end) throw new Error(`waited ${patience / 1000} s for ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}
