import { Problem } from "./api";
import { t } from "./texts";

/** Short remarks on what a person has just done, which go by themselves. */
class Toasts {
  list = $state<{ id: number; text: string; bad: boolean }[]>([]);
  private next = 0;

  say(text: string, bad = false) {
    const id = this.next++;
    this.list = [...this.list.slice(-3), { id, text, bad }];
    setTimeout(() => this.drop(id), bad ? 10_000 : 4_000);
  }

  drop(id: number) {
    this.list = this.list.filter((one) => one.id !== id);
  }
}

export const toasts = new Toasts();

/** An error in words. */
export function words(err: unknown): string {
  if (!(err instanceof Problem)) return String(err);
  if (err.status === 0) return t("error.network");
  return err.message || t("error.unknown", { status: String(err.status) });
}
