import { clock } from "./clock.svelte";
import { Live } from "./live.svelte";
import type { Message } from "./sse";
import type { Device, Event, Rep } from "./types";

/** The newest representation of one resource, and when it was received. */
export interface State {
  rep: Rep;
  seq: number;
  at: number; // ms
  usual: number; // ms between two reports, as far as known
  stray: number; // how far from that a report usually is, in ms
  heard: number; // how many reports that is known from
}

/** How many events came in each of the last seconds, the newest last. */
export const seconds = 120;

/** Whether a resource is one that every device has for the machinery, not for a person. */
export function machinery(href: string): boolean {
  return href.startsWith("/oic/") || href.startsWith("/.well-known/") || href === "/CoAPCloudConfResURI";
}

/**
 * The home as it is now. Devices and states are plain maps, for thousands of
 * them change each second; what is on the screen reads them anew whenever
 * version or shape counts on, which is at most once each frame.
 */
export class Home {
  version = $state(0); // counts frames in which values changed
  shape = $state(0); // counts those in which devices came, went or changed
  perSecond = $state(0);
  rates = $state.raw<number[]>([]);
  recent: Event[] = []; // the newest first
  readonly devices = new Map<string, Device>();
  private readonly states = new Map<string, Map<string, State>>(); // by di, then href
  private counted = 0;
  private begun = false; // the stream has told all that was before it began
  private untold = new Set<string>(); // of the devices, since the stream began anew
  readonly live = new Live("live", (messages) => this.take(messages));
  private listeners = new Set<(e: Event) => void>();

  constructor() {
    setInterval(() => {
      this.perSecond = this.perSecond * 0.8 + this.counted * 0.2;
      this.rates = [...this.rates.slice(1 - seconds), this.counted];
      this.counted = 0;
    }, 1000);
  }

  state(di: string, href: string): State | undefined {
    return this.states.get(di)?.get(href);
  }

  /** Calls each for every event from now on; returns how to end that. */
  onEvent(each: (e: Event) => void): () => void {
    this.listeners.add(each);
    return () => this.listeners.delete(each);
  }

  /** Takes what the server has just told of a device that is known. */
  renew(device: Device) {
    if (!this.devices.has(device.di)) return;
    this.devices.set(device.di, device);
    this.shape++;
  }

  take(messages: Message[]) {
    let reshaped = false;
    for (const message of messages) {
      this.one(message);
      reshaped ||= message.type !== "event" && message.type !== "state" && message.type !== "merged";
    }
    this.version++;
    if (reshaped) this.shape++;
  }

  private one(message: Message) {
    const doc = JSON.parse(message.data);
    switch (message.type) {
      case "hello":
        clock.set(doc.time);
        this.untold = new Set(this.devices.keys());
        this.begun = false;
        if (!doc.resumed) this.states.clear(); // they are all told
        break;
      case "device":
        this.devices.set(doc.di, doc);
        this.untold.delete(doc.di);
        break;
      case "gone":
        this.drop(doc.di);
        break;
      case "ready": // all devices were told: what was not is gone since
        for (const di of this.untold) this.drop(di);
        this.untold.clear();
        this.begun = true;
        break;
      case "state":
        if (this.keep(doc) && doc.seq && !machinery(doc.href)) this.recent = [doc, ...this.recent].sort((a, b) => b.seq - a.seq).slice(0, 20);
        break;
      case "event":
        this.event(doc);
    }
  }

  private drop(di: string) {
    this.devices.delete(di);
    this.states.delete(di);
    this.recent = this.recent.filter((e) => e.di !== di);
  }

  private event(e: Event) {
    const before = this.state(e.di, e.href);
    if (before && before.seq >= e.seq) return; // the state that was told is as new
    if (this.begun) this.counted++;
    this.keep(e);
    if (!machinery(e.href)) this.recent = [e, ...this.recent.slice(0, 19)];
    for (const each of this.listeners) each(e);
  }

  private keep(e: Event): boolean {
    if (typeof e.rep !== "object" || e.rep === null || Array.isArray(e.rep)) return false;
    let of = this.states.get(e.di);
    if (!of) this.states.set(e.di, (of = new Map()));
    const at = Date.parse(e.time);
    const before = of.get(e.href);
    if (before && before.seq >= e.seq) return false; // a snapshot was newer
    const gap = before ? at - before.at : 0;
    const settle = (was: number, is: number) => (before?.heard ? was * 0.8 + is * 0.2 : is);
    const usual = settle(before?.usual ?? 0, gap);
    const stray = before?.heard ? settle(before.stray, Math.abs(gap - before.usual)) : 0;
    of.set(e.href, { rep: e.rep, seq: e.seq, at, usual, stray, heard: before ? before.heard + 1 : 0 });
    return true;
  }
}

export const home = new Home();

/** Whether a value of something that reports steadily is older than twice its usual interval. */
export function late(state: State, now: number): boolean {
  const steady = state.heard >= 4 && state.stray < state.usual / 2 && state.usual < 3600_000;
  return steady && now - state.at > Math.max(2 * state.usual, 5000);
}
