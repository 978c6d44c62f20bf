// What the page shows at the moment, and who wants to know when it changes.

/**
 * The unit of layer `to` that lies where `unit` lies in `from`'s map; undefined where their dims are not alike.
 */
export function likewise(from, to, unit) {
  if (from.extent.length !== to.extent.length) return undefined;
  return unit.map((i, d) =>
    Math.min(to.extent[d] - 1, Math.floor(((i + 0.5) * to.extent[d]) / from.extent[d])),
  );
}

/**
 * State in one object. Keys:
 *   page      the Page that is looked at
 *   compare   a second Page, or null
 *   layer     the number of the chosen layer
 *   unit      the chosen unit's index, one entry per unit dim
 *   source    the number of the input that is shown
 *   through   numbers of layers to show on the way
 *   marks     {box, clipped, centres, way}: what is drawn
 *   image     {url, width, height, name} behind the grid, or null
 *   rate      samples a second along time, or null
 *   pointed   a layer pointed at anywhere, or null
 *   hover     the unit pointed at in passing, or null
 *   pinned    whether the chosen unit stays while one points elsewhere
 *   zoom      whether the input is drawn closely around the box
 *   dim       whether what is not read of the image is dimmed
 *   overlay   what the server said of one unit, or null:
 *             {layer, unit, input, kind: "set" or "mass", shape, box, values}
 *   findings  the findings of the page, when they have come after it
 */
export class Store {
  #state;
  #listeners = new Set();

  constructor(state) {
    this.#state = Object.freeze({ ...state });
  }

  get state() {
    return this.#state;
  }

  /** Changes some keys; those who listen to any that differs are called once, at once. */
  set(patch) {
    const before = this.#state;
    const changed = new Set(Object.keys(patch).filter((key) => !Object.is(before[key], patch[key])));
    if (!changed.size) return;
    this.#state = Object.freeze({ ...before, ...patch });
    for (const listener of [...this.#listeners]) {
      if (listener.keys.some((key) => changed.has(key))) listener.call(this.#state, changed);
    }
  }

  /** Calls `call(state, changed)` when any of `keys` changes. Returns what ends that. */
  on(keys, call) {
    const listener = { keys, call };
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  // --- what views do

  /** Chooses a layer; the unit stays where it is on the input as near as can be. */
  choose(number, unit) {
    const { page } = this.#state;
    const layer = page.layers[number];
    this.set({
      layer: number,
      unit: layer.bounded(unit ?? layer.middle),
      source: readBy(layer, this.#state.source),
      hover: null,
    });
  }

  /** Shows another network; what was chosen stays where its name still exists. */
  show(page) {
    const { page: old, layer, unit, through } = this.#state;
    const named = (number) => (old && number !== null ? page.byName.get(old.layers[number].name) : undefined);
    const chosen = named(layer) ?? page.layers[page.first];
    const same = named(layer) && unit && unit.length === chosen.extent.length;
    // The only unit of a map was not chosen among others: it stands for the middle.
    const alone = same && old.layers[layer].extent.every((n) => n === 1);
    this.set({
      page,
      layer: chosen.number,
      unit: chosen.bounded(same && !alone ? unit : chosen.middle),
      source: readBy(chosen, 0),
      hover: null,
      through: (through ?? []).map(named).filter(Boolean).map((found) => found.number),
      pointed: null,
      findings: null,
      rate: page.rate,
    });
  }
}

/** The input `source` where the layer reads it, else the first that it reads. */
function readBy(layer, source) {
  const reads = (field) => field.size !== 0 || field.global;
  return layer.on(source).some(reads) ? source : (layer.fields.find(reads)?.source ?? source);
}

/** The state before anything is shown. */
export const START = {
  page: null,
  compare: null,
  layer: null,
  unit: null,
  source: 0,
  through: [],
  marks: { box: true, clipped: true, centres: false, way: true },
  image: null,
  rate: null,
  pointed: null,
  hover: null,
  pinned: false,
  zoom: false,
  dim: true,
  overlay: null,
  findings: null,
};
