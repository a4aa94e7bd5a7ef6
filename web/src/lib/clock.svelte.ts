/**
 * The time by the server's clock, which all ages are told by: it ticks once a
 * second, and the browser's own clock may be wrong.
 */
class Clock {
  now = $state(Date.now());
  private ahead = 0; // of the browser's clock, in ms

  constructor() {
    setInterval(() => (this.now = Date.now() + this.ahead), 1000);
  }

  /** Takes the time that the server has just told. */
  set(time: string) {
    const server = Date.parse(time);
    if (Number.isNaN(server)) return;
    this.ahead = server - Date.now();
    this.now = server;
  }
}

export const clock = new Clock();
