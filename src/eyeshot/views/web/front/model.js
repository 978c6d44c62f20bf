// The page's data (schema eyeshot.page/1) as a network that answers: what does this unit read?
//
// Nothing here knows of the document. Boxes are the report's canvas maps evaluated for one unit,
// begin(i) = advance * floor(i / period) + begin[i mod period]; where they are not all, the page has tables.
// Hulls are pairs [begin, end), half-open, of input elements; [0, 0] where nothing is read, ±Infinity for an
// end without bound, null where the page does not know.

const ENDLESS = 2 ** 52;

/** A hull that is empty reads nothing, wherever it lies. */
const canonical = (hull) => (hull[0] < hull[1] ? hull : [0, 0]);

const modulo = (i, n) => ((i % n) + n) % n;

/** The hull of unit `i` by a canvas {period, advance, begin, end}; an end that is null is infinite. */
export function along(canvas, i) {
  const phase = modulo(i, canvas.period);
  const moved = canvas.advance * Math.floor(i / canvas.period);
  const begin = canvas.begin[phase];
  const end = canvas.end[phase];
  return canonical([begin === null ? -Infinity : begin + moved, end === null ? Infinity : end + moved]);
}

/** The union of two hulls: the smallest hull around both. */
export function united(a, b) {
  if (a[0] >= a[1]) return b;
  if (b[0] >= b[1]) return a;
  return [Math.min(a[0], b[0]), Math.max(a[1], b[1])];
}

/** The part of a hull inside 0 … n. */
export function clipped(hull, n) {
  return canonical([Math.max(0, Math.min(n, hull[0])), Math.max(0, Math.min(n, hull[1]))]);
}

/** An array that was written down as runs [count, first, step, …], row-major. */
class Runs {
  constructor(runs) {
    this.starts = [];
    this.runs = runs;
    let at = 0;
    for (let k = 0; k < runs.length; k += 3) {
      this.starts.push(at);
      at += runs[k];
    }
    this.length = at;
  }

  at(i) {
    let low = 0;
    let high = this.starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= i) low = middle;
      else high = middle - 1;
    }
    const value = this.runs[3 * low + 1] + this.runs[3 * low + 2] * (i - this.starts[low]);
    return Math.abs(value) >= ENDLESS ? Math.sign(value) * Infinity : value;
  }
}

/** A table over a layer's unit dims; a dim of size 1 makes no difference. */
class Table {
  constructor({ shape, lo, hi }) {
    this.shape = shape;
    this.lo = new Runs(lo);
    this.hi = hi ? new Runs(hi) : null;
  }

  place(unit) {
    let place = 0;
    this.shape.forEach((n, d) => {
      place = place * n + (n > 1 ? unit[d] : 0);
    });
    return place;
  }

  hull(unit) {
    const place = this.place(unit);
    return canonical([this.lo.at(place), this.hi.at(place)]);
  }

  number(unit) {
    return this.lo.at(this.place(unit));
  }
}

/** One field of a layer: what its units read along one axis of one input. */
class Field {
  constructor(page, layer, content, [box, inside, middle], k) {
    // As the report has it: input (its name), axis, dim, n, size, jump, start, padding, global, status, canvas.
    Object.assign(this, content);
    this.page = page;
    this.layer = layer;
    this.k = k;
    this.source = page.inputs.findIndex((input) => input.name === content.input);
    this.length = page.inputs[this.source].shape[content.axis];
    /** Which entry of a unit's index the canvas follows; -1 where units do not differ along this axis. */
    this.place = layer.units.indexOf(content.dim);
    this._box = box;
    this._inside = inside;
    this._middle = middle;
  }

  /** The hull on the unbounded canvas, as `layer.box` of the library. */
  box(unit) {
    if (this._box === "canvas") return along(this.canvas, unit[this.place]);
    return this._box === null ? null : this.page.tables[this._box].hull(unit);
  }

  /** The exact hull inside the input, global context included, as `layer.boxes()` of the library. */
  inside(unit) {
    if (this._inside === "clip") {
      const box = this.box(unit);
      return box && clipped(box, this.length);
    }
    return this._inside === null ? null : this.page.tables[this._inside].hull(unit);
  }

  /** The centre, as `layer.centres()` of the library; NaN where nothing is read. */
  middle(unit) {
    if (this._middle === null) return NaN;
    if (this._middle !== "box") {
      const doubled = this.page.tables[this._middle].number(unit);
      return Number.isFinite(doubled) ? doubled / 2 : NaN;
    }
    const hull = this.canvas && this.place >= 0 ? along(this.canvas, unit[this.place]) : this.box(unit);
    if (!hull || hull[0] >= hull[1]) return NaN;
    const [past, future] = [hull[0] === -Infinity, hull[1] === Infinity];
    if (past && future) return this.length / 2;
    if (past) return hull[1] - 0.5;
    return future ? hull[0] + 0.5 : (hull[0] + hull[1]) / 2;
  }

  /** Whether the page knows the centres of all units. */
  get centred() {
    if (this._middle !== "box") return this._middle !== null;
    return this.known || Boolean(this.canvas && this.place >= 0);
  }

  /** Whether the page knows the boxes of all units. */
  get known() {
    return this._box !== null;
  }

  /** Whether the local field of the largest unit is wider than the input. */
  get passes() {
    return this.size === null || this.size > this.length;
  }
}

/** One row of the report. `number` is its place there, `parents` the layers (or Inputs) it is made from. */
class Layer {
  constructor(page, number, content, more) {
    this.page = page;
    this.number = number;
    this.name = content.name;
    this.op = content.op;
    /** Where in modules it lies, if its name doesn't say. */
    this.path = more.path;
    this.shape = content.shape;
    this.units = more.units;
    /** How many units there are along each unit dim. */
    this.extent = more.units.map((dim) => content.shape[dim]);
    this.middle = this.extent.map((n) => n >> 1);
    /** How many units there are in all. */
    this.count = this.extent.reduce((product, n) => product * n, 1);
    this.fields = content.fields.map((field, k) => new Field(page, this, field, more.fields[k], k));
    this.parents = more.parents.map(([parent]) => parent);
    this.relations = more.parents.map(([, relation]) => relation);
    this.children = [];
  }

  /** The fields on input `source`, in the order of its axes. */
  on(source) {
    return this.fields.filter((field) => field.source === source);
  }

  get bound() {
    return this.fields.some((field) => field.status === "bound");
  }

  get global() {
    return this.fields.some((field) => field.global);
  }

  /** The numbers of all that it is made from: layers before it, and inputs (< 0). */
  get ancestors() {
    const found = new Set(this.parents);
    for (let number = this.number - 1; number >= 0; number -= 1) {
      if (found.has(number)) this.page.layers[number].parents.forEach((parent) => found.add(parent));
    }
    return found;
  }

  /**
   * Hulls on the unbounded canvas, one per field; what is known to read nothing along one axis reads nothing.
   */
  box(unit) {
    const hulls = this.fields.map((field) => field.box(unit));
    const blind = new Set();
    this.fields.forEach((field, k) => {
      if (!field.canvas && hulls[k] && hulls[k][0] >= hulls[k][1]) blind.add(field.source);
    });
    return hulls.map((hull, k) => (blind.has(this.fields[k].source) ? [0, 0] : hull));
  }

  /** Exact hulls inside the input, one per field. */
  inside(unit) {
    return this.fields.map((field) => field.inside(unit));
  }

  /** Centres, one per field. */
  centre(unit) {
    const blind = new Set();
    this.fields.forEach((field) => {
      if (!field.canvas) {
        const hull = field.inside(unit);
        if (hull && hull[0] >= hull[1]) blind.add(field.source);
      }
    });
    return this.fields.map((field) => (blind.has(field.source) ? NaN : field.middle(unit)));
  }

  /** A unit index inside this layer, as near as can be to `unit`. */
  bounded(unit) {
    return this.extent.map((n, d) => Math.max(0, Math.min(n - 1, unit[d] ?? this.middle[d])));
  }
}

/** An analysed network. */
export class Page {
  constructor(content) {
    this.content = content;
    this.title = content.title;
    this.rate = content.rate;
    this.status = content.report.status;
    this.inputs = content.report.inputs;
    this.diagnostics = content.report.diagnostics;
    this.findings = content.findings ? content.findings.findings : null;
    this.tables = content.tables.map((table) => new Table(table));
    this.layers = content.report.layers.map((layer, k) => new Layer(this, k, layer, content.layers[k]));
    this.outputs = content.outputs;
    this.groups = new Map(content.groups);
    this.byName = new Map(this.layers.map((layer) => [layer.name, layer]));
    for (const layer of this.layers) {
      for (const parent of layer.parents) {
        if (parent >= 0) this.layers[parent].children.push(layer.number);
      }
    }
  }

  /** What the network is called where it has no title. */
  get called() {
    return this.title || "network";
  }

  /** The sizes of input `source` along its axes. */
  extent(source) {
    const { shape, axes } = this.inputs[source];
    return axes.map((axis) => shape[axis]);
  }

  /**
   * Per field of a layer that reads local context: the first layer in order whose field passes the input's
   * size.
   */
  crossing(source, axis) {
    return this.layers.find((layer) =>
      layer.fields.some((field) => field.source === source && field.axis === axis && field.passes),
    );
  }

  /** The layer to begin with: the last one that has a map and reads the input. */
  get first() {
    const maps = this.layers.filter(
      (layer) => layer.units.length && layer.fields.some((f) => f.known && f.canvas),
    );
    return (maps.at(-1) ?? this.layers.at(-1)).number;
  }
}
