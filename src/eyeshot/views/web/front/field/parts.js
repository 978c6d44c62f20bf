// What is drawn and said of one unit: the part of its field inside the input, and the units that read a pixel.

import { clipped } from "../model.js";
import { axisName, number } from "../words.js";

/** The unit that is shown: the one pointed at, else the chosen one. */
export function shown({ page, layer: number, unit, hover }) {
  const { extent } = page.layers[number];
  const fits = hover && hover.length === extent.length && hover.every((i, d) => i >= 0 && i < extent[d]);
  return fits ? hover : unit;
}

/** The hull inside the input that comes from local reads alone; global context is drawn apart. */
function local(field, unit) {
  if (!field.global) return field.inside(unit);
  const box = field.box(unit);
  return box && clipped(box, field.length);
}

/** Whether one of these hulls is empty: then nothing is read, whatever the others say. */
export function blank(hulls) {
  return hulls.some((hull) => hull && hull[0] >= hull[1]);
}

/** Whether a unit reads global context along an axis; in a layer that does, some units may not. */
export function reaches(field, unit) {
  if (!field.global) return false;
  const inside = field.inside(unit);
  if (!inside) return true;
  const [begin, end] = inside;
  if (begin >= end) return false;
  if (!field.canvas || (begin === 0 && end === field.length)) return true;
  return local(field, unit)?.join() !== inside.join();
}

/** Which axes of a unit's field are global, and how far it reaches then, in words; "" where none is. */
function contextOf(fields, whole, inside) {
  if (!whole.includes(true)) return "";
  const names = fields.flatMap((_, k) => (whole[k] ? [axisName(fields.length, k)] : []));
  const which = whole.every(Boolean) ? "global" : `global along ${names.join(" and ")}`;
  if (!inside.every(Boolean)) return `${which}: how far is not in this file`;
  const all = inside.every(([begin, end], k) => begin === 0 && end === fields[k].length);
  const far = all ? "all of the input" : inside.map(([begin, end]) => number(end - begin)).join(" × ");
  return `${which}: with context, its field is ${far}`;
}

/**
 * Everything about one unit on one input, aligned with the input's axes. `global`: whether it reads global
 * context; `context` says so in words, and `reach` has its hulls with it, null where they are not known.
 */
export function facts(layer, source, unit) {
  const pick = (values) => values.filter((_, k) => layer.fields[k].source === source);
  const fields = layer.on(source);
  const box = pick(layer.box(unit));
  const inside = pick(layer.inside(unit));
  const drawn = fields.map((field) => local(field, unit));
  const whole = blank(inside) ? fields.map(() => false) : fields.map((field) => reaches(field, unit));
  return {
    fields,
    box: box.some((hull) => hull && hull[0] >= hull[1]) ? box.map(() => [0, 0]) : box,
    inside,
    local: blank(drawn) ? drawn.map(() => [0, 0]) : drawn,
    centre: pick(layer.centre(unit)),
    global: whole.includes(true),
    context: contextOf(fields, whole, inside),
    reach: whole.includes(true) && inside.every(Boolean) ? inside : null,
    bound: fields.some((field) => field.status === "bound"),
  };
}

/** Which entries of a unit's index a field's hulls depend on; with global context where that is asked for. */
function follows(field, whole) {
  const entries = new Set();
  const table = field.global && !whole ? null : field._inside;
  const tables = [typeof table === "number" ? table : field._box].filter((one) => typeof one === "number");
  if (!tables.length && field.place >= 0) entries.add(field.place);
  for (const table of tables) {
    field.page.tables[table].shape.forEach((n, d) => {
      if (n > 1) entries.add(d);
    });
  }
  return [...entries];
}

const MAX_LOOKED_AT = 1 << 16;
const holds = (hull, pixel) => hull[0] <= pixel && pixel < hull[1];

/**
 * The units whose field inside the input holds a pixel: {along, units, count, known}. `whole`: their field with
 * global context, and not the local one.
 *
 * `along` has per unit dim the entries of those units, where any combination of them is one; else `units` lists
 * them. `known` is false where the page does not know, or where they are too many to be looked at one by one.
 */
export function readers(layer, source, pixel, whole = false) {
  const fields = layer.on(source);
  const none = { along: null, units: [], count: 0, known: true };
  if (!fields.length) return none;
  const unit = layer.middle.slice();
  const hullOf = (field, at) => (whole ? field.inside(at) : local(field, at));
  if (!fields.every((field) => hullOf(field, unit))) return { ...none, known: false };
  const needs = fields.map((field) => follows(field, whole));
  if (needs.every((dims) => dims.length < 2)) {
    if (fields.some((field, k) => !needs[k].length && !holds(hullOf(field, unit), pixel[k]))) return none;
    const along = layer.extent.map((n, d) => {
      const asked = fields.flatMap((field, k) => (needs[k][0] === d ? [[field, pixel[k]]] : []));
      const found = [];
      for (let i = 0; i < n; i += 1) {
        unit[d] = i;
        if (asked.every(([field, p]) => holds(hullOf(field, unit), p))) found.push(i);
      }
      unit[d] = layer.middle[d];
      return found;
    });
    return { ...none, along, count: along.reduce((product, one) => product * one.length, 1) };
  }
  if (layer.count > MAX_LOOKED_AT) return { ...none, known: false };
  const units = [];
  const at = layer.extent.map(() => 0);
  for (let d = 0; d >= 0; ) {
    if (fields.every((field, k) => holds(hullOf(field, at), pixel[k]))) units.push(at.slice());
    for (d = at.length - 1; d >= 0; d -= 1) {
      at[d] += 1;
      if (at[d] < layer.extent[d]) break;
      at[d] = 0;
    }
  }
  return { ...none, units, count: units.length };
}

/** The unit whose centre is nearest to a place on the input, as near as the dims allow one by one. */
export function nearest(layer, source, place, from) {
  const fields = layer.on(source);
  const unit = from.slice();
  layer.extent.forEach((n, d) => {
    const asked = fields.flatMap((field, k) => (field.place === d ? [[field, place[k]]] : []));
    if (!asked.length) return;
    let best = [Infinity, unit[d]];
    for (let i = 0; i < n; i += 1) {
      unit[d] = i;
      const off = asked.reduce((sum, [field, at]) => sum + Math.abs(field.middle(unit) - at), 0);
      if (off < best[0]) best = [off, i];
    }
    [, unit[d]] = best;
  });
  return unit;
}

/** Consecutive numbers as pairs [first, past the last]. */
export function runs(numbers) {
  const out = [];
  for (const n of numbers) {
    if (out.length && out.at(-1)[1] === n) out.at(-1)[1] = n + 1;
    else out.push([n, n + 1]);
  }
  return out;
}

/**
 * Layers to show on the way by default: the last map of each size between the input and the layer, at most
 * `most`. Where all maps have one size, some of these.
 */
export function between(page, layer, source, most = 3) {
  const met = layer.ancestors;
  const flat = (one) => one.extent.length > 0 && one.extent.length < 3 && one.on(source).length > 0;
  const plane = (one) =>
    flat(one) && one.extent.length === 2 && one.on(source).every((field) => field.place >= 0);
  const before = page.layers.filter((one) => met.has(one.number));
  let maps = before.filter(plane);
  if (!maps.length) maps = before.filter(flat);
  const sizes = [];
  for (const one of maps) {
    const key = one.extent.join();
    if (sizes.at(-1)?.key !== key) sizes.push({ key });
    sizes.at(-1).layer = one;
  }
  const own = layer.extent.join();
  let found = sizes.filter((size, k) => size.key !== own || k < sizes.length - 1).map((size) => size.layer);
  if (!found.length) found = maps;
  if (found.length <= most) return found.map((one) => one.number);
  return Array.from({ length: most }, (_, k) => found[Math.floor(((k + 0.5) * found.length) / most)].number);
}
