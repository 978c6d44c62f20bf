// The way of a unit through the network: which units it reads of every layer before it.
//
// From the unit down, step by step: what it reads of a layer is the union of what its children on the way
// read of it, clipped to the map (what lies outside is padding, which reads nothing). Per dim a set of units is
// kept as intervals [begin, end, begin, end, …). That is all there is to know where steps treat dims one by
// one; where they don't, sets may come out larger than they are, and `exact` says so.

import { NONE, Union, contains, covers, empty, hullOf, listed, sizeOf, union } from "./intervals.js";
import { united } from "./model.js";
import { MAX_FLAT, MAX_UNITS, relationsOf } from "./relation.js";

/** What was read is kept for so many sets of units of one layer. */
const MAX_KNOWN = 256;

/** A hull that is empty, shared: hulls are replaced, never changed. */
const NOTHING = Object.freeze([0, 0]);

/** What is read of one map while the way is followed. */
class Place {
  constructor(count) {
    this.sets = Array(count).fill(NONE);
    this.raw = Array(count).fill(NOTHING);
    this.global = Array(count).fill(false);
    /** Per dim whether the set is all there is to know, or its hull alone. */
    this.tight = Array(count).fill(true);
    /** Whether the units read are all of the sets' product. */
    this.product = true;
    /** Whether maybe not all channels of these units are read. */
    this.some = false;
    /** Whether anything of it is read, by local or global context. */
    this.met = false;
    this.exact = true;
    this.known = true;
  }

  /** Whether anything is read locally. */
  get reads() {
    return this.met && (!this.sets.length || this.sets.some((set) => !empty(set)));
  }

  get hulls() {
    return this.sets.map(hullOf);
  }
}

/**
 * What a unit of `layer` reads of every layer before it and of the inputs.
 *
 * Returns a Map from layer numbers (-1 - k for input k) to {hulls, sets, raw, global, exact, known, reads}: per
 * unit dim (per axis, of an input) the hull inside the map of what is read locally, the same as a set of
 * intervals [begin, end, begin, end, …), the hull before it was clipped, and whether all of the dim is read
 * besides, by global context ([0, 0] and true: by that alone). `exact`: the hulls are no larger than what is
 * read. `known` is false where a step on the way is not in the page.
 */
export function way(page, layer, unit) {
  const found = new Map();
  const start = new Place(layer.units.length);
  start.sets = unit.map((i) => [i, i + 1]);
  start.raw = unit.map((i) => [i, i + 1]);
  start.met = true;
  found.set(layer.number, start);
  for (let number = layer.number; number >= 0; number -= 1) {
    const here = found.get(number);
    if (!here) continue;
    const child = page.layers[number];
    relationsOf(page, child).forEach((relation, k) => {
      const parent = child.parents[k];
      let there = found.get(parent);
      if (!there) found.set(parent, (there = new Place(relation.dims.length)));
      step(child, here, relation, there);
    });
  }
  found.forEach((place, number) => number < 0 && agreed(place, layer.on(-1 - number)));
  return found;
}

/** At an input the report knows which axes are read whole. */
function agreed(place, fields) {
  fields.forEach((field, d) => {
    if (place.global[d] && !field.global && empty(place.sets[d])) {
      // Global context came along a dim that several axes share, and this one has a field of its own.
      place.sets[d] = [0, field.length];
      place.exact = place.tight[d] = false;
    }
    place.global[d] = field.global;
  });
}

function step(child, here, relation, there) {
  if (!here.known || relation.missing) {
    there.known = false;
    there.exact = false;
    if (relation.missing) return;
  }
  // The sets that the relation's parts look at, by dims of the child.
  const sets = new Map();
  const alone = new Set(); // dims that are met by global context alone
  let spread = 0;
  let tight = true;
  // Which of its channels are read is not known; where these differ, neither is what they read.
  let certain = !relation.unsure && !(relation.differs && here.some);
  for (const dim of relation.follows) {
    const at = child.units.indexOf(dim);
    if (at < 0 && here.some) certain = false;
    if (at < 0) sets.set(dim, { set: [0, child.shape[dim]], tight: true, global: false });
    else sets.set(dim, { set: here.sets[at], tight: here.tight[at], global: here.global[at] });
    const { set, global } = sets.get(dim);
    if (empty(set) && global) alone.add(dim);
    if (sizeOf(set) > 1) spread += 1;
    tight = tight && sets.get(dim).tight;
  }
  relation.parts.forEach((part, d) => {
    if (part.global || part.follows.some((dim) => sets.get(dim).global)) there.global[d] = true;
  });
  if (!relation.parts.length) {
    there.met = there.met || here.met;
    there.exact = there.exact && here.exact && certain;
    return;
  }
  if (!here.met) return;
  const product = here.product || spread <= 1;
  const parts = relation.parts.map((part) => part.local && !part.follows.some((dim) => alone.has(dim)));
  if (!parts.some(Boolean)) {
    there.met = true;
    return;
  }
  const read = relation.separate
    ? apart(relation, sets, parts, product)
    : looked(relation, sets, parts, product && tight);
  if (!read) return;
  const exact = here.exact && read.exact && certain;
  arrive(there, read, exact, relation.picks || (here.some && !relation.mixes));
}

/** What is read where each dim of the parent follows one dim of the child, or none. */
function apart(relation, sets, parts, product) {
  const read = { sets: [], raw: [], tight: [], exact: true, product: product && !relation.loose };
  let blank = false;
  for (const [d, part] of relation.parts.entries()) {
    if (!parts[d]) {
      read.sets.push(NONE);
      read.raw.push([0, 0]);
      read.tight.push(true);
      continue;
    }
    const { set, tight } = part.follows.length ? sets.get(part.follows[0]) : { set: [0, 1], tight: true };
    if (empty(set)) return null;
    const one = part.image(set, tight);
    // Nothing is read where all is padding along one dim.
    if (empty(one.set)) return null;
    if (one.blank) blank = true;
    read.sets.push(one.set);
    read.raw.push(one.raw);
    read.tight.push(one.tight);
    read.exact = read.exact && one.exact;
  }
  // Units that read padding alone along one dim read nothing along others; a product tells which these are.
  if (blank && !product) read.exact = false;
  return read;
}

/** Units near each other read the same again and again, deep in a network. */
function looked(relation, sets, parts, exact) {
  const key = [exact, ...parts, ...relation.follows.map((dim) => sets.get(dim).set.join())].join(";");
  const { known } = relation;
  let found = known.get(key);
  if (found === undefined) {
    if (known.size >= MAX_KNOWN) known.clear();
    known.set(key, (found = jointly(relation, sets, parts, exact)));
  }
  return found;
}

/** What is read where dims of the parent follow several of the child: unit by unit. */
function jointly(relation, sets, parts, exact) {
  const dims = relation.follows;
  const count = dims.reduce((product, dim) => product * sizeOf(sets.get(dim).set), 1);
  if (!count) return null;
  const local = relation.parts.map((part, d) => (parts[d] ? part : null));
  if (count > MAX_UNITS || local.some((part) => part && !part.flat.lo)) {
    const all = local.map((part) => (part ? [0, part.length] : NONE));
    return { sets: all, raw: all.map(hullOf), tight: all.map(() => false), exact: false, product: false };
  }
  const whole = local.map((part) => !part || (part.whole && part.step === 1));
  const boxes = exact && whole.every(Boolean) ? [] : null;
  const members = dims.map((dim) => listed(sets.get(dim).set));
  const columns = local.filter(Boolean).map((part) => new Column(part, dims));
  const any = every(members, columns, boxes);
  if (!any) return null;
  let at = 0;
  const of = local.map((part) => (part ? columns[at++] : null));
  return {
    sets: of.map((column) => (column ? column.union.set : NONE)),
    raw: of.map((column) => (column && column.rawLo < column.rawHi ? [column.rawLo, column.rawHi] : [0, 0])),
    tight: whole,
    exact,
    product: boxes !== null && filled(columns.map((column) => column.union.set), boxes),
  };
}

/** What the units read along one dim of the parent, while they are gone through. */
class Column {
  constructor(part, dims) {
    this.flat = part.flat;
    this.strides = dims.map((dim) => part.flat.strides.get(dim) ?? 0);
    this.union = new Union(part.length);
    this.rawLo = Infinity;
    this.rawHi = -Infinity;
    this.place = 0;
  }
}

/** Goes through all units, dim by dim; whether any reads. `boxes` gets the ends of what each one reads. */
function every(members, columns, boxes, depth = 0) {
  if (depth === members.length) return look(columns, boxes);
  const before = columns.map((column) => column.place);
  let any = false;
  for (const i of members[depth]) {
    for (let c = 0; c < columns.length; c += 1) columns[c].place = before[c] + i * columns[c].strides[depth];
    const reads = depth + 1 < members.length ? every(members, columns, boxes, depth + 1) : look(columns, boxes);
    any = any || reads;
  }
  for (let c = 0; c < columns.length; c += 1) columns[c].place = before[c];
  return any;
}

/** One unit, which reads nothing where it reads nothing along one dim. */
function look(columns, boxes) {
  let reads = true;
  for (const column of columns) {
    const { flat, place } = column;
    const [low, high] = [flat.rawLo[place], flat.rawHi[place]];
    if (low < high) {
      if (low < column.rawLo) column.rawLo = low;
      if (high > column.rawHi) column.rawHi = high;
    }
    if (flat.lo[place] >= flat.hi[place]) reads = false;
  }
  if (!reads) return false;
  for (const { flat, place, union: found } of columns) {
    found.add(flat.lo[place], flat.hi[place]);
    boxes?.push(flat.lo[place], flat.hi[place]);
  }
  return true;
}

/** Whether boxes make the whole product of the sets that they unite to along each dim. */
function filled(sets, boxes) {
  const width = 2 * sets.length;
  if (boxes.length === width) return true;
  const volume = sets.reduce((product, set) => product * sizeOf(set), 1);
  const begin = sets.map((set) => set[0]);
  const size = sets.map((set) => set[set.length - 1] - set[0]);
  const room = size.reduce((product, n) => product * n, 1);
  if (room > MAX_FLAT) return false;
  const marks = new Uint8Array(room);
  let marked = 0;
  const mark = (box, d, at) => {
    if (d === size.length) {
      marked += 1 - marks[at];
      marks[at] = 1;
      return;
    }
    const end = boxes[box + 2 * d + 1] - begin[d];
    for (let i = boxes[box + 2 * d] - begin[d]; i < end; i += 1) mark(box, d + 1, at * size[d] + i);
  };
  for (let box = 0; box < boxes.length; box += width) {
    // Units of one window read the same.
    let fresh = box === 0;
    for (let k = 0; k < width && !fresh; k += 1) fresh = boxes[box + k] !== boxes[box + k - width];
    if (fresh) mark(box, 0, 0);
  }
  return marked === volume;
}

/** Unites what one child reads of a map with what others do. */
function arrive(there, read, exact, some) {
  const tight = exact ? read.tight : read.tight.map(() => false);
  if (!there.met) {
    // Copies, for what was read is kept and asked for again.
    const own = { sets: [...read.sets], raw: [...read.raw], tight: [...tight] };
    Object.assign(there, { ...own, product: read.product, exact });
  } else {
    const inside = read.sets.map((set, d) => contains(there.sets[d], set));
    const around = read.sets.map((set, d) => contains(set, there.sets[d]));
    const differ = inside.filter((is, d) => !(is && around[d])).length;
    // What may be too large does no harm within what is not.
    there.exact =
      (there.exact && exact) ||
      (there.exact && read.sets.every((set, d) => covers(there.sets[d], set))) ||
      (exact && there.sets.every((set, d) => covers(read.sets[d], set)));
    there.product =
      (there.product && inside.every(Boolean)) ||
      (read.product && around.every(Boolean)) ||
      (there.product && read.product && differ <= 1);
    there.tight = there.tight.map((is, d) => (is && tight[d]) || (is && inside[d]) || (tight[d] && around[d]));
    there.sets = there.sets.map((set, d) => union(set, read.sets[d]));
    there.raw = there.raw.map((hull, d) => united(hull, read.raw[d]));
  }
  there.met = true;
  there.some = there.some || some;
}
