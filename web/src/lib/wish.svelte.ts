/**
 * What a person wants of a control and the device has not said yet. It stands at
 * once; it goes when the device reports the same, when it refuses, of which the reason then
 * stays, or some time after it said yes, for it may have done something else.
 */
const patience = 3000; // ms between a yes and the report of it

export class Wish<T> {
  value = $state<T>();
  waiting = $state(false);
  refusal = $state("");
  private turn = 0;

  /** Wants value. ask tells the device, and answers why it does not do it; "": it does. */
  async want(value: T, ask: () => Promise<string>) {
    const mine = ++this.turn;
    this.value = value;
    this.waiting = true;
    this.refusal = "";
    const refusal = await ask();
    if (mine !== this.turn) return; // something else is wanted meanwhile
    this.waiting = false;
    this.refusal = refusal;
    if (refusal) this.value = undefined;
    else setTimeout(() => mine === this.turn && (this.value = undefined), patience);
  }

  /** Shows value while it is being chosen. */
  preview(value: T) {
    this.turn++;
    this.waiting = false;
    this.value = value;
  }

  /** Hears what the device reports. */
  is(value: T) {
    if (!this.waiting && this.value === value) this.value = undefined;
  }
}
