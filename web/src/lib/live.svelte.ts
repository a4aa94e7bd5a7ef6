import { Problem, reach } from "./api";
import { clock } from "./clock.svelte";
import { type Message, Parser } from "./sse";

/**
 * The one stream of a page: what the server tells by itself. It comes back
 * after sleep, another network or another server, and then goes on behind the
 * last event that it saw, so that nothing is missing in between.
 *
 *   fetch ──▶ Parser ──▶ pending ── once each frame ──▶ take(messages)
 *     ▲                                                     │
 *     └── again, with Last-Event-ID ◀── lost ◀── silence ───┘
 *
 * Messages are handed over once each frame however fast they come, so that two
 * thousand a second cost sixty updates of the page.
 */
const silence = 40_000; // ms without a byte, of which the server sends one each 15 s
const longest = 8_000; // ms between two tries
const hidden = 30_000; // ms after which a tab that nobody sees stops listening

export type Status = "connecting" | "live" | "catching" | "lost" | "paused";

export class Live {
  status = $state<Status>("connecting");
  since = $state(0); // when the connection was lost, by the server's clock
  behind = $state(0); // messages not yet shown, while catching up

  private last = ""; // id of the last event seen
  private pending: Message[] = [];
  private frame = 0;
  private tries = 0;
  private abort: AbortController | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private watchdog: ReturnType<typeof setTimeout> | undefined;
  private stopped = false;

  constructor(
    private readonly path: string, // under /api/v1
    private readonly take: (messages: Message[]) => void,
  ) {}

  start() {
    addEventListener("online", this.now);
    addEventListener("offline", this.away);
    document.addEventListener("visibilitychange", this.seen);
    void this.run();
  }

  stop() {
    this.stopped = true;
    removeEventListener("online", this.now);
    removeEventListener("offline", this.away);
    document.removeEventListener("visibilitychange", this.seen);
    cancelAnimationFrame(this.frame);
    clearTimeout(this.timer);
    this.cut();
  }

  private cut() {
    clearTimeout(this.watchdog);
    this.abort?.abort();
    this.abort = undefined;
  }

  /** Tries at once, for there is reason to believe that it works again. */
  private readonly now = () => {
    this.tries = 0;
    this.retry(0);
  };

  /** The network has gone, which the connection itself would tell only after a while. */
  private readonly away = () => {
    if (this.abort) this.lost();
  };

  private readonly seen = () => {
    clearTimeout(this.timer);
    if (document.hidden) {
      this.timer = setTimeout(() => {
        this.status = "paused";
        this.cut();
      }, hidden);
    } else if (!this.abort) {
      this.now();
    }
  };

  private retry(wait: number) {
    clearTimeout(this.timer);
    this.cut();
    if (!this.stopped) this.timer = setTimeout(() => void this.run(), wait);
  }

  private async run() {
    const abort = (this.abort = new AbortController());
    try {
      const headers: Record<string, string> = { Accept: "text/event-stream" };
      if (this.last) headers["Last-Event-ID"] = this.last;
      this.watch();
      const response = await reach(this.path, { headers, signal: abort.signal });
      await this.read(response, abort);
    } catch (err) {
      if (err instanceof Problem && err.status === 401) return; // the page of sign-in comes
    }
    if (abort.signal.aborted || this.stopped) return;
    this.lost();
  }

  private lost() {
    this.cut();
    if (this.status !== "lost" && this.status !== "paused") {
      this.since = clock.now;
      this.status = "lost";
    }
    const wait = Math.min(longest, 250 * 2 ** this.tries++);
    this.retry(wait * (0.5 + Math.random() / 2));
  }

  private async read(response: Response, abort: AbortController) {
    const parser = new Parser();
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    this.tries = 0;
    this.status = this.last ? "catching" : "connecting";
    for (;;) {
      const { done, value } = await reader.read();
      if (done || abort.signal.aborted) return;
      this.watch();
      const messages = parser.feed(value);
      if (messages.length) this.queue(messages);
    }
  }

  /** A connection that says nothing for long is as good as none. */
  private watch() {
    clearTimeout(this.watchdog);
    this.watchdog = setTimeout(() => this.lost(), silence);
  }

  private queue(messages: Message[]) {
    for (const message of messages) {
      this.pending.push(message);
      if (message.id) this.last = message.id;
    }
    if (this.status === "catching") this.behind = this.pending.length;
    if (!this.frame) this.frame = requestAnimationFrame(() => this.flush());
  }

  private flush() {
    this.frame = 0;
    const messages = this.pending;
    this.pending = [];
    this.behind = 0;
    if (messages.some((m) => m.type === "ready")) this.status = "live";
    this.take(messages);
  }
}
