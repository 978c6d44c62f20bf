// Sets of integers as intervals in order that don't touch: [begin, end, begin, end, …).

export const NONE = [];
const MAX_ROOM = 1 << 17;
/** Whether nothing is in it. */
export const empty = (set) => set.length === 0;
/** The smallest hull around it. */
export const hullOf = (set) => (set.length ? [set[0], set[set.length - 1]] : [0, 0]);
/** How many numbers are in it. */
export const sizeOf = (set) => {
  let size = 0;
  for (let k = 0; k < set.length; k += 2) size += set[k + 1] - set[k];
  return size;
};

/** The union of intervals in any order, as intervals in order that don't touch. */
export function merged(pairs) {
  pairs.sort((a, b) => a[0] - b[0]);
  const out = [];
  for (const [begin, end] of pairs) {
    const last = out.length - 1;
    if (last > 0 && begin <= out[last]) {
      if (end > out[last]) out[last] = end;
    } else out.push(begin, end);
  }
  return out;
}

/** Gathers many intervals within 0 … length; where that is long, those that were met are sorted. */
export class Union {
  constructor(length) {
    this.ends = length <= MAX_ROOM ? new Int32Array(length) : null; // by where intervals begin, the furthest
    this.pairs = [];
  }

  add(begin, end) {
    if (this.ends === null) this.pairs.push([begin, end]);
    else if (end > this.ends[begin]) this.ends[begin] = end;
  }

  /** Their union. */
  get set() {
    return (this._set ??= this.ends === null ? merged(this.pairs) : this.#swept());
  }

  #swept() {
    const out = [];
    for (let i = 0; i < this.ends.length; i += 1) {
      const last = out.length - 1;
      if (!this.ends[i]) continue;
      if (last > 0 && i <= out[last]) out[last] = Math.max(out[last], this.ends[i]);
      else out.push(i, this.ends[i]);
    }
    return out;
  }
}

/** What is in either. */
export function union(a, b) {
  if (empty(a) || contains(b, a)) return b;
  if (empty(b) || contains(a, b)) return a;
  const pairs = [];
  for (const set of [a, b]) for (let k = 0; k < set.length; k += 2) pairs.push([set[k], set[k + 1]]);
  return merged(pairs);
}

/** Whether all of b is in a. */
export function contains(a, b) {
  let at = 0;
  for (let k = 0; k < b.length; k += 2) {
    while (at < a.length && a[at + 1] < b[k + 1]) at += 2;
    if (at >= a.length || a[at] > b[k]) return false;
  }
  return true;
}

/** The numbers in it. */
export function listed(set) {
  const found = [];
  for (let k = 0; k < set.length; k += 2) for (let i = set[k]; i < set[k + 1]; i += 1) found.push(i);
  return found;
}

/** Whether the hull of b lies in that of a. */
export function covers(a, b) {
  return empty(b) || (!empty(a) && a[0] <= b[0] && b[b.length - 1] <= a[a.length - 1]);
}
