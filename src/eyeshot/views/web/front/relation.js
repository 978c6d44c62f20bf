// One step of the way through: what a layer's units read of the units of a layer that it is made from.

import { along, united } from "./model.js";
import { hullOf, merged, sizeOf } from "./intervals.js";

/** More intervals, or units looked at one by one, than this are taken for their hull. */
const MAX_INTERVALS = 1 << 10;
export const MAX_UNITS = 1 << 15;
/** Reads of all units are written down up to so many. */
export const MAX_FLAT = 1 << 17;

/** Reads of all units, by the content of a part and the sizes of its maps. */
const flats = new WeakMap();

/** One part of a relation: what a unit reads along one dim of the parent. */
class Part {
  constructor(page, child, content, length) {
    this.child = child;
    this.content = content;
    this.length = length;
    this.canvas = content.canvas;
    this.table = content.table === null ? null : page.tables[content.table];
    this.clip = content.inside === undefined || content.inside === null ? null : page.tables[content.inside];
    this.step = content.step ?? 1;
    this.whole = !content.loose;
    this.global = content.global;
    this.missing = Boolean(content.missing);
    this.unsure = Boolean(content.unsure);
    /** Whether there is a local field at all. */
    this.local = Boolean(this.canvas || this.table);
    this.dims = content.units ?? [];
    this.dim = content.dim;
    /** The dims of the child along which reads differ. */
    this.follows = this.#follows();
    this.smooth = this.canvas !== null && !this.table && this.#smooth();
  }

  #follows() {
    const found = new Set();
    if (this.canvas && !this.table && this.dim !== null) found.add(this.dim);
    for (const table of [this.table, this.clip]) {
      if (table) table.shape.forEach((n, d) => n > 1 && found.add(this.dims[d]));
    }
    return [...found];
  }

  /** Whether ends never fall as units grow, and neighbours leave nothing out between them. */
  #smooth() {
    const { period } = this.canvas;
    this.ordered = true;
    let gapless = this.step === 1 && this.whole;
    for (let i = 0; i < period; i += 1) {
      const [a, b] = [along(this.canvas, i), along(this.canvas, i + 1)];
      if (a[0] >= a[1] || b[0] >= b[1] || b[0] < a[0] || b[1] < a[1]) this.ordered = gapless = false;
      if (b[0] > a[1]) gapless = false;
    }
    return gapless;
  }

  /** Hulls of all units along the dims that are followed: `raw` on the unbounded map, else inside. */
  get flat() {
    if (!this._flat) {
      // Many layers are alike: blocks of one stage.
      const key = [this.length, ...this.follows.map((dim) => this.child.shape[dim])].join();
      if (!flats.has(this.content)) flats.set(this.content, new Map());
      const known = flats.get(this.content);
      if (!known.has(key)) known.set(key, this.#flat());
      this._flat = known.get(key);
    }
    return this._flat;
  }

  #flat() {
    let count = 1;
    const strides = new Map();
    for (const dim of [...this.follows].reverse()) {
      strides.set(dim, count);
      count *= this.child.shape[dim];
    }
    if (count > MAX_FLAT) return { count, strides, lo: null };
    const found = { count, strides };
    for (const name of ["lo", "hi", "rawLo", "rawHi"]) found[name] = new Float64Array(count);
    const index = new Map();
    for (let i = 0; i < count; i += 1) {
      for (const [dim, stride] of strides) index.set(dim, Math.floor(i / stride) % this.child.shape[dim]);
      const box = this.#box(index);
      const hull = this.#inside(index, box);
      [found.rawLo[i], found.rawHi[i]] = box;
      [found.lo[i], found.hi[i]] = hull;
    }
    return found;
  }

  #box(index) {
    if (this.table) return this.table.hull(this.dims.map((dim) => index.get(dim) ?? 0));
    return this.canvas ? along(this.canvas, index.get(this.dim) ?? 0) : [0, 0];
  }

  #inside(index, box) {
    if (this.clip) return this.clip.hull(this.dims.map((dim) => index.get(dim) ?? 0));
    if (box[0] >= box[1]) return [0, 0];
    const { step } = this;
    const low = box[0] < 0 && step > 1 ? box[0] + step * Math.ceil(-box[0] / step) : Math.max(0, box[0]);
    const high = Math.min(this.length, box[1]);
    return low < high ? [low, high] : [0, 0];
  }

  /** What lies in a hull, as pairs added to `out`. */
  #spread(low, high, out) {
    const last = out[out.length - 1];
    if (this.step > 1) for (let at = low; at < high; at += this.step) out.push([at, at + 1]);
    else if (last && low >= last[0] && low <= last[1]) last[1] = Math.max(last[1], high);
    else out.push([low, high]);
  }

  /** What the units of a set along one dim read: {set, raw, tight, exact, blank}. */
  image(set, tight) {
    const [low, high] = hullOf(set);
    const dim = this.follows[0];
    if (this.smooth && !this.clip) return this.#swept(set, tight);
    const { flat } = this;
    const out = [];
    let raw = [0, 0];
    let blank = false;
    let ordered = true;
    let ends = true;
    let [before, after] = [-Infinity, -Infinity];
    const many = sizeOf(set) > MAX_UNITS;
    const near = many ? this.#ends(low, high) : set;
    const all = [0, this.length];
    if (!flat.lo && !this.canvas) return { set: all, raw: all, tight: false, exact: false };
    const index = new Map();
    for (let k = 0; k < near.length; k += 2) {
      for (let i = near[k]; i < near[k + 1]; i += 1) {
        let [lo, hi] = [0, 0];
        if (flat.lo) {
          [lo, hi] = [flat.lo[i], flat.hi[i]];
          raw = united(raw, [flat.rawLo[i], flat.rawHi[i]]);
        } else {
          index.set(dim, i);
          const box = this.#box(index);
          [lo, hi] = this.#inside(index, box);
          raw = united(raw, box);
        }
        if (lo >= hi) {
          blank = true;
          if (i === low || i === high - 1) ends = false;
          continue;
        }
        this.#spread(lo, hi, out);
        if (lo < before || hi < after) ordered = false;
        [before, after] = [lo, hi];
      }
    }
    const found = this.#bounded(out);
    return {
      set: found.set,
      raw,
      tight: tight && this.whole && found.tight && !many,
      // Of a set of which the hull alone is known, the units at its ends say where it ends.
      exact: tight ? !many || ordered : ordered && ends,
      blank,
    };
  }

  #bounded(pairs) {
    const set = merged(pairs);
    if (set.length > 2 * MAX_INTERVALS) return { set: hullOf(set), tight: false };
    return { set, tight: true };
  }

  /** Past one period at either end nothing new is met. */
  #ends(low, high) {
    const reach = Math.min((this.canvas?.period ?? MAX_UNITS) + 1, MAX_UNITS);
    return merged([[low, Math.min(high, low + reach)], [Math.max(low, high - reach), high]]);
  }

  #swept(set, tight) {
    const out = [];
    let raw = [0, 0];
    let blank = false;
    for (let k = 0; k < set.length; k += 2) {
      const [first, last] = [along(this.canvas, set[k]), along(this.canvas, set[k + 1] - 1)];
      raw = united(raw, [first[0], last[1]]);
      const [begin, end] = [Math.max(0, first[0]), Math.min(this.length, last[1])];
      if (begin < end) {
        const at = out.length - 1;
        if (at > 0 && begin <= out[at]) out[at] = Math.max(out[at], end);
        else out.push(begin, end);
      }
      if (first[1] <= 0 || last[0] >= this.length) blank = true;
    }
    return { set: out, raw, tight: tight && this.whole, exact: tight || !blank, blank };
  }
}

/** What a layer reads of one parent, ready to be followed. */
class Relation {
  constructor(page, child, parent, content) {
    const there = parent >= 0 ? page.layers[parent] : page.inputs[-1 - parent];
    const dims = parent >= 0 ? there.units : there.axes;
    this.dims = dims;
    this.mixes = Boolean(content.mixes);
    this.picks = Boolean(content.picks);
    this.differs = Boolean(content.differs);
    this.parts = dims.map((dim) => {
      const part = content.parts.find((one) => one.of === dim);
      return part ? new Part(page, child, part, there.shape[dim]) : null;
    });
    this.missing = this.parts.some((part) => part === null || part.missing);
    this.unsure = Boolean(content.unsure) || this.parts.some((part) => part?.unsure);
    /** What way.js found of sets of units. */
    this.known = new Map();
    this.loose = this.parts.some((part) => part && !part.whole);
    const followed = this.parts.flatMap((part) => part?.follows ?? []);
    this.follows = [...new Set(followed)];
    /** Whether dims are read one by one, each along a dim of its own. */
    this.separate =
      this.follows.length === followed.length && this.parts.every((part) => part && part.follows.length <= 1);
  }
}

const relations = new WeakMap();

/** The relations of a layer to its parents, in their order. */
export function relationsOf(page, layer) {
  let found = relations.get(layer);
  if (!found) {
    const contents = layer.relations.map((number) => page.content.relations[number]);
    found = layer.parents.map((parent, k) => new Relation(page, layer, parent, contents[k]));
    relations.set(layer, found);
  }
  return found;
}
