import type { Series } from "./types";

/** A series as uPlot takes it: times in seconds, and for each the least, greatest and last value; null where nothing was heard. */
export type Columns = [number[], (number | null)[], (number | null)[], (number | null)[]];

/**
 * Lays the buckets of a series on its whole time. What a thing last said goes
 * on until it says something else; only a gap of more than three times the usual
 * distance between two reports is shown as one.
 */
export function columns(s: Series): Columns {
  const out: Columns = [[], [], [], []];
  const put = (time: number, min: number | null, max: number | null, last: number | null) => {
    out[0].push(time);
    out[1].push(min);
    out[2].push(max);
    out[3].push(last);
  };
  const since = Date.parse(s.since) / 1000;
  if (s.before) put(since, s.before.value, s.before.value, s.before.value);
  const gap = usual(s) * 3;
  let before = s.before ? since : Number.NaN;
  for (const b of s.buckets) {
    const time = Date.parse(b.start) / 1000 + s.width_s / 2;
    if (gap > 0 && time - before > gap) put((before + time) / 2, null, null, null);
    put(time, b.min, b.max, b.last);
    before = time;
  }
  return out;
}

/** The median distance between two buckets in which something was heard, in seconds; 0: too few to say. */
function usual(s: Series): number {
  if (s.buckets.length < 8) return 0;
  const times = s.buckets.map((b) => Date.parse(b.start) / 1000);
  const gaps = times.slice(1).map((time, i) => time - times[i]!).sort((a, b) => a - b);
  return Math.max(gaps[gaps.length >> 1]!, s.width_s);
}
