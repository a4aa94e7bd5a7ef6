/**
 * From row to row by keys: j and k wherever one is on the page, the arrows,
 * Home and End within a list. A list is marked with data-rows, and what takes
 * the focus in each of its rows with data-row.
 */
const steps: Record<string, number> = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };

/** Where a key leads from place at of n, -1 being none of them; undefined: nowhere. */
export function next(key: string, at: number, n: number): number | undefined {
  const step = steps[key];
  if (step === undefined || n === 0) return undefined;
  if (at < 0) return step === Infinity ? n - 1 : 0;
  return Math.min(n - 1, Math.max(0, at + step));
}

/** Moves the focus as the key says; false if it says nothing here. */
export function move(e: KeyboardEvent): boolean {
  const focus = e.target as HTMLElement;
  const list = focus.closest<HTMLElement>("[data-rows]") ?? (e.key.length === 1 ? document.querySelector<HTMLElement>("main [data-rows]") : null);
  if (!list) return false;
  const rows = [...list.querySelectorAll<HTMLElement>("[data-row]")];
  const to = next(e.key, rows.indexOf(focus), rows.length);
  if (to === undefined) return false;
  rows[to]!.focus();
  return true;
}
