// The article's arithmetic of a stack of layers, and the same numbers read from a report.
//
// A map is {name, n, r, j, start, layer, before}: `n` units, whose field is `r` wide; neighbours lie `j` apart,
// and the first is centred at `start`. `layer` is {k, s, p}, null of the input, and `before` the map that it
// reads.

/** The four formulas: from a map to the next one, through a layer {k, s, p}. */
const FORMULAS = {
  n: (before, { k, s, p }) => Math.floor((before.n + 2 * p - k) / s) + 1,
  j: (before, { s }) => before.j * s,
  r: (before, { k }) => before.r + (k - 1) * before.j,
  start: (before, { k, p }) => before.start + ((k - 1) / 2 - p) * before.j,
};

const NOTHING = [0, 0];

/** What a unit reads of the map before it: a kernel's width, from the padding on. */
export const reads = (map, i) => [i * map.layer.s - map.layer.p, i * map.layer.s - map.layer.p + map.layer.k];

/** The part of a pair [begin, end) inside 0 … n. */
export function within([begin, end], n) {
  const [low, high] = [Math.max(0, begin), Math.min(n, end)];
  return low < high ? [low, high] : NOTHING;
}

function made(name, before, layer) {
  const map = { name, before, layer, n: Math.max(0, FORMULAS.n(before, layer)) };
  for (const key of ["j", "r", "start"]) map[key] = FORMULAS[key](before, layer);
  map.centre = (i) => map.start + i * map.j;
  map.box = (i) => [map.centre(i) - map.r / 2, map.centre(i) + map.r / 2];
  // A unit that reads only padding passes nothing on, so the parts inside are united step by step.
  map.inside = (i) => {
    const [low, high] = within(reads(map, i), before.n);
    let hull = NOTHING;
    for (let k = low; k < high; k += 1) {
      const [begin, end] = before.inside(k);
      if (begin < end) {
        hull = hull[0] < hull[1] ? [Math.min(hull[0], begin), Math.max(hull[1], end)] : [begin, end];
      }
    }
    return hull;
  };
  return map;
}

function input(n) {
  const map = { name: "input", before: null, layer: null, n, j: 1, r: 1, start: 0.5, centre: (i) => 0.5 + i };
  map.box = (i) => [i, i + 1];
  map.inside = map.box;
  return map;
}

/** The maps of an input of `n` elements and layers [{name, k, s, p}], the input first. */
export function stack(n, layers) {
  const maps = [input(n)];
  for (const layer of layers) maps.push(made(layer.name, maps.at(-1), layer));
  return maps;
}

/** The same maps out of a report's page: its numbers, boxes and centres, along the first axis. */
export function fromPage(page) {
  const maps = [input(page.extent(0)[0])];
  for (const layer of page.layers) {
    const [field] = layer.fields;
    const before = maps.at(-1);
    // The formulas backwards: the kernel, stride and padding that lead from one map's numbers to the next's.
    const k = (field.size - before.r) / before.j + 1;
    const kernel = {
      name: layer.name,
      k,
      s: field.jump / before.j,
      p: (k - 1) / 2 - (field.start - before.start) / before.j,
    };
    const unit = (i) => layer.units.map(() => i);
    maps.push({
      name: layer.name,
      before,
      layer: kernel,
      n: field.n,
      j: field.jump,
      r: field.size,
      start: field.start,
      centre: (i) => layer.centre(unit(i))[0],
      box: (i) => layer.box(unit(i))[0],
      inside: (i) => layer.inside(unit(i))[0],
    });
  }
  return maps;
}
