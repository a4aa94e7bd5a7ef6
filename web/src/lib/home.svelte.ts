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
  heard: number; // how many reports that is known from
}

/**
 * The home as it is now. Devices and states are plain maps, for thousands of
 * them change each second; what is on the screen reads them anew whenever
 * version or shape counts on, which is at most once each frame.
 */
class Home {
  version = $state(0); // counts frames in which values changed
  shape = $state(0); // counts those in which devices came, went or changed
  perSecond = $state(0);
  recent: Event[] = []; // the newest first
  readonly devices = new Map<string, Device>();
  private readonly states = new Map<string, Map<string, State>>(); // by di, then href
  private counted = 0;
  readonly live = new Live("live", (messages) => this.take(messages));
  private listeners = new Set<(e: Event) => void>();

  constructor() {
    setInterval(() => {
      this.perSecond = this.perSecond * 0.8 + this.counted * 0.2;
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

  take(messages: Message[]) {
    let reshaped = false;
    for (const message of messages) {
      this.one(message);
      reshaped ||= message.type === "device" || message.type === "gone" || message.type === "hello";
    }
    this.version++;
    if (reshaped) this.shape++;
  }

  private one(message: Message) {
    const doc = JSON.parse(message.data);
    switch (message.type) {
      case "hello":
        clock.set(doc.time);
        if (!doc.resumed) this.devices.clear();
        break;
      case "device":
        this.devices.set(doc.di, doc);
        break;
      case "gone":
        this.devices.delete(doc.di);
        this.states.delete(doc.di);
        break;
      case "event":
        this.event(doc);
    }
  }

  private event(e: Event) {
    this.counted++;
    this.keep(e);
    this.recent = [e, ...this.recent.slice(0, 19)];
    for (const each of this.listeners) each(e);
  }

  private keep(e: Event) {
    if (typeof e.rep !== "object" || e.rep === null || Array.isArray(e.rep)) return;
    let of = this.states.get(e.di);
    if (!of) this.states.set(e.di, (of = new Map()));
    const at = Date.parse(e.time);
    const before = of.get(e.href);
    if (before && before.seq > e.seq) return; // a snapshot was newer
    const gap = before ? at - before.at : 0;
    const usual = before?.heard ? before.usual * 0.8 + gap * 0.2 : gap;
    of.set(e.href, { rep: e.rep, seq: e.seq, at, usual, heard: before ? before.heard + 1 : 0 });
  }
}

export const home = new Home();

/** Whether a value of something that reports steadily is older than twice its usual interval. */
export function late(state: State, now: number): boolean {
  return state.heard >= 8 && state.usual < 3600_000 && now - state.at > Math.max(2 * state.usual, 5000);
}
