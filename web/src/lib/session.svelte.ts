import { ask, get, onSignedOut, Problem } from "./api";
import { home } from "./home.svelte";
import { route } from "./route.svelte";

/** Who is signed in on this browser. The proof is a cookie that no page can read. */
export interface Who {
  account: string;
  admin?: boolean;
  role?: string;
}

class Session {
  who = $state<Who | null | undefined>(undefined); // undefined: not known yet; null: nobody
  linkUsed = $state(false); // the one-time link did not work

  constructor() {
    onSignedOut(() => (this.who = null));
  }

  /** Finds out who is signed in; a one-time link in the address signs in first. */
  async begin() {
    const key = /^#k=([\w-]+)$/.exec(location.hash)?.[1];
    if (key) {
      route.instead("#/");
      try {
        await ask("POST", "session", { body: { link: key } });
      } catch (err) {
        this.linkUsed = err instanceof Problem && err.status !== 0;
      }
    }
    try {
      this.enter(await get<Who>("session"));
    } catch (err) {
      if (err instanceof Problem && err.status === 401) this.who = null;
      else throw err;
    }
  }

  async signIn(account: string, password: string) {
    await ask("POST", "session", { body: { account, password } });
    this.linkUsed = false;
    this.enter(await get<Who>("session"));
  }

  /** Signs out here, or on every browser of the account. */
  async signOut(everywhere: boolean) {
    await ask("DELETE", everywhere ? "session?everywhere=true" : "session");
    location.reload(); // nothing of the account stays in memory
  }

  private enter(who: Who) {
    this.who = who;
    home.live.start();
  }
}

export const session = new Session();
