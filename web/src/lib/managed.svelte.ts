import { Load } from "./load.svelte";
import { toasts, words } from "./toast.svelte";

/** A list of the server that a person changes: what was done is told, and the list asked for anew. */
export class Managed<T> extends Load<T> {
  /** Does something to the list; false if it failed, of which the person has been told. */
  async act(what: () => Promise<unknown>): Promise<boolean> {
    let done = true;
    try {
      await what();
    } catch (err) {
      toasts.say(words(err), true);
      done = false;
    }
    await this.go();
    return done;
  }
}
