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

/** What to try after an error; "" where nothing helps but what the error says. */
export function hint(err: unknown): string {
  if (!(err instanceof Problem)) return t("hint.other");
  if (err.status === 0) return t("hint.network");
  if (err.status === 403) return t("hint.right");
  if (err.status === 404) return t("hint.gone");
  if (err.status === 409 || err.status === 412) return t("hint.changed");
  if (err.status === 429) return t("hint.many");
  if (err.status === 502 || err.status === 504) return t("hint.device");
  return err.status >= 500 ? t("hint.server") : "";
}
