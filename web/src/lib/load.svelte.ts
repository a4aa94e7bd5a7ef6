/**
 * What a page has asked the server for: nothing yet, an answer, or an error. A
 * later question cancels an earlier one, and a page that goes cancels its own.
 */
export class Load<T> {
  private timer: ReturnType<typeof setInterval> | undefined;
  value = $state.raw<T>();
  error = $state.raw<unknown>();
  busy = $state(false);
  private abort: AbortController | undefined;

  constructor(private readonly ask: (signal: AbortSignal) => Promise<T>) {}

  /** Asks, now and anew. */
  readonly go = async () => {
    this.abort?.abort();
    const abort = (this.abort = new AbortController());
    this.busy = true;
    try {
      const value = await this.ask(abort.signal);
      if (abort.signal.aborted) return;
      this.value = value;
      this.error = undefined;
    } catch (err) {
      if (abort.signal.aborted) return;
      this.error = err;
    }
    this.busy = false;
  };

  /** Asks now, and again every so many ms as long as somebody sees the page. */
  every(ms: number) {
    void this.go();
    this.timer = setInterval(() => !document.hidden && !this.busy && void this.go(), ms);
  }

  stop() {
    clearInterval(this.timer);
    this.abort?.abort();
  }
}
