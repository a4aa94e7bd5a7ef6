import type uPlot from "uplot";

/** What lies over the line of a plot. Times are in seconds. */
export interface Drawing {
  marks: Mark[];
  late: [number, number][]; // when it was true, and the value: received later
  away: [number, number][]; // from when to when the device was offline
}

/** A moment at which something was done. */
export interface Mark {
  at: number;
  kind: MarkKind;
}

/** person and rule: a command by one; fired: what the device said made a rule fire. */
export type MarkKind = "person" | "rule" | "fired";

/** The sign of each kind, so that colour is not all that tells them apart. */
export const signs: Record<MarkKind | "late" | "away", string> = { person: "▼", rule: "◆", fired: "▲", late: "○", away: "▨" };

type Colours = Record<string, string>;

export function draw(u: uPlot, what: Drawing, colour: Colours) {
  const { ctx } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
  ctx.clip();
  for (const [from, to] of what.away) drawAway(u, from, to, colour.soft!);
  for (const mark of what.marks) drawMark(u, mark, colour[mark.kind === "person" ? "accent" : "warn"]!);
  for (const [at, value] of what.late) drawLate(u, at, value, colour);
  ctx.restore();
}

function drawAway({ ctx, bbox, valToPos }: uPlot, from: number, to: number, colour: string) {
  const left = Math.max(bbox.left, valToPos(from, "x", true)), right = Math.min(bbox.left + bbox.width, valToPos(to, "x", true));
  if (right <= left) return;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, bbox.top, right - left, bbox.height);
  ctx.clip();
  ctx.globalAlpha = 0.35;
  ctx.strokeStyle = colour;
  ctx.lineWidth = devicePixelRatio;
  ctx.beginPath();
  for (let x = left - bbox.height; x < right; x += 8 * devicePixelRatio) {
    ctx.moveTo(x, bbox.top + bbox.height);
    ctx.lineTo(x + bbox.height, bbox.top);
  }
  ctx.stroke();
  ctx.restore();
}

function drawMark({ ctx, bbox, valToPos }: uPlot, mark: Mark, colour: string) {
  const x = valToPos(mark.at, "x", true), r = 5 * devicePixelRatio;
  const top = bbox.top, bottom = bbox.top + bbox.height;
  ctx.fillStyle = colour;
  ctx.globalAlpha = 0.5;
  ctx.fillRect(x - devicePixelRatio / 2, top, devicePixelRatio, bbox.height);
  ctx.globalAlpha = 1;
  const corners: Record<MarkKind, [number, number][]> = {
    person: [[x - r, top], [x + r, top], [x, top + 1.6 * r]],
    rule: [[x, top], [x + r, top + r], [x, top + 2 * r], [x - r, top + r]],
    fired: [[x - r, bottom], [x + r, bottom], [x, bottom - 1.6 * r]],
  };
  ctx.beginPath();
  for (const [cx, cy] of corners[mark.kind]) ctx.lineTo(cx, cy);
  ctx.fill();
}

function drawLate({ ctx, valToPos }: uPlot, at: number, value: number, colour: Colours) {
  ctx.beginPath();
  ctx.arc(valToPos(at, "x", true), valToPos(value, "y", true), 4 * devicePixelRatio, 0, 2 * Math.PI);
  ctx.fillStyle = colour.panel!;
  ctx.fill();
  ctx.strokeStyle = colour.accent!;
  ctx.lineWidth = 2 * devicePixelRatio;
  ctx.stroke();
}
