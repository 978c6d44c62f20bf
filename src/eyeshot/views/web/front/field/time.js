// The arithmetic of a time line: where units stand in time, and what a unit costs in past, lookahead and
// latency.

import { reaches } from "./parts.js";
import { clamp } from "../scales.js";

/** A map on the time line: the units of a layer along one of its dims, over the samples of an input. */
export class Row {
  /**
   * `place`: "centre", units at the centres of their boxes, or "own", at their own samples [i · jump, (i + 1) ·
   * jump).
   */
  constructor(layer, source, place) {
    this.layer = layer;
    this.source = source;
    [this.field] = layer.on(source);
    const { field } = this;
    this.dim = !layer.extent.length ? -1 : field && field.place >= 0 ? field.place : layer.extent.length - 1;
    this.n = this.dim < 0 ? 1 : layer.extent[this.dim];
    this.length = field ? field.length : layer.page.inputs[source].shape[layer.page.inputs[source].axes[0]];
    /** Without a rate of their own (no closed form) units are spread evenly over the input. */
    this.even = !field || field.jump === null;
    this.jump = this.even ? this.length / this.n : field.jump;
    this.others = layer.middle.slice();
    const [first, last] = [this.middle(0), this.middle(this.n - 1)];
    this.centred = place === "centre" && !this.even && Number.isFinite(first) && Number.isFinite(last);
    this.first = first;
    this.period = field?.canvas?.period ?? 1;
  }

  /** The whole index of unit i; further unit dims keep the entries of `like`. */
  unit(i, like = this.others) {
    if (this.dim < 0) return [];
    const unit = this.layer.bounded(like);
    unit[this.dim] = i;
    return unit;
  }

  middle(i) {
    return this.field ? this.field.middle(this.unit(i)) : NaN;
  }

  /** Where unit i stands: [begin, end) in samples. */
  span(i) {
    if (!this.centred) return [i * this.jump, (i + 1) * this.jump];
    const middle = this.middle(i);
    const at = Number.isFinite(middle) ? middle : this.first + i * this.jump;
    return [at - this.jump / 2, at + this.jump / 2];
  }

  /** Where units [low, high) stand. */
  spans([low, high]) {
    return [this.span(low)[0], this.span(high - 1)[1]];
  }

  /** The unit that stands nearest to a time. */
  at(time) {
    const guess = this.centred ? (time - this.first) / this.jump : time / this.jump - 0.5;
    const near = clamp(Math.round(guess), 0, this.n - 1);
    if (!this.centred || this.period === 1) return near;
    let best = near;
    const off = (i) => Math.abs(this.middle(i) - time);
    for (let i = Math.max(0, near - this.period); i <= Math.min(this.n - 1, near + this.period); i += 1) {
      if (off(i) < off(best)) best = i;
    }
    return best;
  }

  /** The units that stand in [from, to), with some more at either end. */
  within([from, to]) {
    const more = 2 + (this.centred ? this.period : 0);
    const begin = this.centred ? this.first : 0;
    const low = Math.floor((from - begin) / this.jump) - more;
    const high = Math.ceil((to - begin) / this.jump) + more;
    return [clamp(low, 0, this.n), clamp(high, 0, this.n)];
  }
}

/**
 * What a unit needs of time, in samples: {own, past, lookahead, latency}; null where units have no rate.
 *
 * Its own samples are [i · jump, (i + 1) · jump). `past`: how far its box begins before them; `lookahead`: how
 * far it ends after them, 0 or less where it is causal; `latency`: from the arrival of its first own sample to
 * that of the last sample that it reads.
 */
export function needs(field, unit) {
  const box = field.box(unit);
  if (!box || box[0] >= box[1] || field.jump === null || field.place < 0) return null;
  const i = unit[field.place];
  const own = [i * field.jump, (i + 1) * field.jump];
  const all = reaches(field, unit);
  return {
    own,
    past: own[0] - box[0],
    lookahead: all ? Infinity : box[1] - own[1],
    latency: all ? Infinity : box[1] - own[0],
  };
}

/** The largest lookahead of all units of a layer; null where there is no closed form. */
export function worst(field) {
  if (!field || field.jump === null || field.place < 0 || !field.canvas || field._box !== "canvas") return null;
  if (field.global) return Infinity;
  let most = -Infinity;
  const unit = field.layer.middle.slice();
  for (let i = 0; i < Math.min(field.canvas.period, field.layer.extent[field.place]); i += 1) {
    unit[field.place] = i;
    most = Math.max(most, needs(field, unit)?.lookahead ?? -Infinity);
  }
  return most === -Infinity ? null : most;
}

/**
 * Whether units are better shown at their own samples: boxes on one side, without end, or other from phase to
 * phase.
 */
export function ownReads(field) {
  const most = worst(field);
  if (most === null) return false;
  if (field.canvas.period > 1 || field.size === null) return true;
  return most <= 0 && field.size > field.jump;
}
