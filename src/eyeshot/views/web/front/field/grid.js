// How the units of a layer lie on a flat map: rows and columns, or a row of tokens that wraps.

const MAX_LOOKED_AT = 4096;

/** How many units make a row of a wrapped token dim, and how many come before the first row: [width, first]. */
function wrapping(layer, source) {
  const [count] = layer.extent;
  const [rows] = layer.on(source);
  const seen = new Map();
  if (rows?.known) {
    // Tokens of one row of an image read the same rows of it.
    let begin = 0;
    let before = null;
    for (let i = 0; i <= Math.min(count, MAX_LOOKED_AT); i += 1) {
      const hull = i < count ? rows.box([i]) : null;
      const key = hull && hull[0] < hull[1] ? hull.join() : null;
      if (key === before && i < count) continue;
      if (before !== null && i - begin > 1) {
        const width = i - begin;
        const one = seen.get(width) ?? { width, first: begin, times: 0 };
        one.times += 1;
        seen.set(width, one);
      }
      [begin, before] = [i, key];
    }
  }
  const best = [...seen.values()].sort((a, b) => b.times * b.width - a.times * a.width)[0];
  if (best && best.times > 1) return [best.width, best.first];
  // Else as an earlier map of as many units (and a class token or two) has it.
  const met = layer.ancestors;
  for (let number = layer.number - 1; number >= 0; number -= 1) {
    if (!met.has(number)) continue;
    const { extent } = layer.page.layers[number];
    if (extent.length !== 2) continue;
    const extra = count - extent[0] * extent[1];
    if (extra >= 0 && extra <= 8 && extent[1] > 1) return [extent[1], extra];
  }
  return count <= 64 ? [count, 0] : [Math.ceil(Math.sqrt(count)), 0];
}

/**
 * The flat map of a layer, seen from one input. `rows` × `columns` cells; `kind` is "map" (two unit dims),
 * "row", "column" or "tokens" (one), or "one" (none: a single unit that stands for all). Further unit dims
 * (`others`) keep the entries they have.
 */
export class Grid {
  constructor(layer, source) {
    const { extent } = layer;
    this.layer = layer;
    this.places = [];
    this.lead = 0;
    const places = layer.on(source).map((field) => field.place);
    if (!extent.length) {
      [this.kind, this.rows, this.columns] = ["one", 1, 1];
    } else if (extent.length === 1) {
      this.#single(extent[0], places, source);
    } else {
      const own = places.length === 2 && places[0] >= 0 && places[1] >= 0 && places[0] !== places[1];
      this.kind = "map";
      this.places = own ? places : [extent.length - 2, extent.length - 1];
      [this.rows, this.columns] = this.places.map((place) => extent[place]);
    }
    this.others = extent.map((_, d) => d).filter((d) => extent.length > 1 && !this.places.includes(d));
  }

  #single(count, places, source) {
    const [row, column] = places;
    if (places.length === 2 && row < 0 && column >= 0) [this.kind, this.rows, this.columns] = ["row", 1, count];
    else if (places.length === 2 && row >= 0 && column < 0) {
      [this.kind, this.rows, this.columns] = ["column", count, 1];
    } else {
      this.kind = "tokens";
      const [width, first] = wrapping(this.layer, source);
      this.columns = Math.max(1, width);
      // Tokens before the first row, such as a class token, have a row of their own, at its start.
      this.lead = first % this.columns;
      this.rows = (this.lead ? 1 : 0) + Math.ceil((count - this.lead) / this.columns);
    }
  }

  /** Where a unit stands: [row, column]. */
  cell(unit) {
    if (this.kind === "one") return [0, 0];
    if (this.kind === "map") return this.places.map((place) => unit[place]);
    if (this.kind === "row") return [0, unit[0]];
    if (this.kind === "column") return [unit[0], 0];
    if (unit[0] < this.lead) return [0, unit[0]];
    const at = unit[0] - this.lead;
    return [Math.floor(at / this.columns) + (this.lead ? 1 : 0), at % this.columns];
  }

  /** The unit in a cell, or null; `like` gives the entries that the map does not show. */
  unit(row, column, like) {
    if (row < 0 || column < 0 || row >= this.rows || column >= this.columns) return null;
    if (this.kind === "one") return [];
    if (this.kind === "map") {
      const unit = like.slice();
      [unit[this.places[0]], unit[this.places[1]]] = [row, column];
      return unit;
    }
    if (this.kind === "row") return [column];
    if (this.kind === "column") return [row];
    if (this.lead && row === 0) return column < this.lead ? [column] : null;
    const i = this.lead + (row - (this.lead ? 1 : 0)) * this.columns + column;
    return i < this.layer.extent[0] ? [i] : null;
  }

  /** The cells of all units within hulls, one per unit dim, as rectangles [row, past, column, past]. */
  rectangles(hulls) {
    if (hulls.some(([low, high]) => low >= high)) return [];
    if (this.kind === "one") return [[0, 1, 0, 1]];
    if (this.kind === "map") return [this.places.flatMap((place) => hulls[place])];
    const [low, high] = hulls[0];
    if (this.kind === "row") return [[0, 1, low, high]];
    if (this.kind === "column") return [[low, high, 0, 1]];
    const out = [];
    for (let i = Math.max(0, low); i < Math.min(high, this.layer.extent[0]); ) {
      const [row, column] = this.cell([i]);
      const end = i < this.lead ? this.lead : i + this.columns - column;
      const past = Math.min(end, high);
      out.push([row, row + 1, column, column + past - i]);
      i = past;
    }
    return out;
  }

  /** Lines between the units in a pane; the first and the last row of tokens may be short. */
  lines(pane, least) {
    if (this.kind !== "tokens") return pane.lines(this.rows, this.columns, least);
    const [count] = this.layer.extent;
    if (pane.sx < least || count > MAX_LOOKED_AT) return "";
    return pane.path(Array.from({ length: count }, (_, i) => this.rectangles([[i, i + 1]])[0]));
  }
}
