// The field view of an input with three axes: three slices through the input, three through the chosen layer's
// map.

import { fresh, h, nameButton, s } from "../dom.js";
import { drawing } from "../frames.js";
import { clamp } from "../scales.js";
import { way } from "../way.js";
import { ABSENT, hull as hullText, shape } from "../words.js";
import { Marks, region } from "./ground.js";
import { put, seen } from "./pane.js";
import { blank, facts, shown } from "./parts.js";
import { pinKey, press, same } from "./pins.js";
import { spoken } from "./readout.js";
import { Sketch } from "./sketch.js";
import { AXES, fit, Slice } from "./slices.js";

const KEYS = [
  [["←", "→", "↑", "↓"], "to the next unit in the slice; with Shift, ten units"],
  [[",", "."], "to the slice before or after"],
  [["Home", "End"], "to the first and the last unit of a row"],
  [["Enter"], "pin the unit, or release it"],
  [["Page Up", "Page Down"], "to the layer before or after"],
];

/** Mounts the view. */
export function mount(element, app) {
  new Volume(element, app);
}

class Volume {
  #drawing;

  constructor(element, app) {
    Object.assign(this, { element, app, store: app.store, width: 0 });
    this.#drawing = drawing(app.store, {
      ready: ({ page, source }) => !element.hidden && this.width && page?.inputs[source].axes.length === 3,
      base: (state) => this.#draw(state),
      marks: (state) => this.#move(state),
    });
    const call = () => this.later("base");
    const three = (kind) => [[1, 2, 0], [1, 0, 2], [0, 2, 1]].map((axes) => new Slice(kind, axes, call));
    this.ground = three("ground");
    this.map = three("map");
    this.sketch = new Sketch();
    for (const slice of this.ground) {
      slice.marks = new Marks(slice.pane);
      slice.marks.word.remove(); // there is no room for it in a thin slice; the badge above says it
    }
    for (const slice of this.map) slice.pane.marks.append((slice.unit = s("rect", { class: "mark-unit" })));
    this.titles = [h("span", { class: "ellipsis" }), h("span", { class: "ellipsis" })];
    this.hint = h("p", { class: "pane-note", id: fresh("volume-keys") },
      "Arrow keys move in a slice (Shift: ten), the comma and the full stop through it; Tab goes to the " +
      "next slice. A click pins the unit. ",
      "Slices of the input lie at the unit’s centre; a click there goes to the unit centred nearest.");
    this.none = h(
      "p", { class: "pane-note" },
      "The units of this layer do not lie in a volume; the numbers above choose one.",
    );
    this.steps = h("ul", { class: "volume-way small" });
    const four = (slices, last) => h(
      "div", { class: "volume-slices" }, ...slices.map((slice) => slice.element), last,
    );
    this.groups = [four(this.ground, this.sketch.element), four(this.map, null)];
    this.sides = this.groups.map((group, k) =>
      h(
        "figure", { class: k ? "volume-map" : "volume-ground" }, h("figcaption", {}, this.titles[k]), group,
        k ? [this.none, this.hint] : this.steps,
      ));
    this.frame = h("div", { class: "volume" }, ...this.sides);
    element.append(this.frame);
    this.#interactive();
    const known = app.keys?.some((one) => one.where === "Slices of a volume"); // from another copy of this view
    if (!known) for (const [keys, text] of KEYS) app.keys?.push({ where: "Slices of a volume", keys, text });
    this.store.on(["page", "layer", "source", "through", "marks"], () => this.later("base"));
    this.store.on(["unit", "hover", "pinned"], () => this.later("marks"));
    new ResizeObserver(([{ contentRect: { width } }]) => {
      if (!width || Math.floor(width) === this.width) return;
      this.width = Math.floor(width);
      call();
    }).observe(this.frame);
    // At once where it can be, so that nothing below moves after the first picture.
    this.width = Math.floor(this.frame.clientWidth);
    this.#drawing.now();
  }

  /** Draws with the next frame; "base" draws all. */
  later(what) {
    this.#drawing.later(what);
  }

  // --- what does not move

  #draw(state) {
    const { page, source } = state;
    const layer = page.layers[state.layer];
    this.layer = layer;
    this.sizes = page.extent(source);
    const places = layer.on(source).map((field) => field.place);
    const own = places.filter((place) => place >= 0);
    /**
     * Which entry of a unit's index goes along each axis of the input; -1 where units do not differ along it.
     */
    this.places = new Set(own).size === own.length && own.length === layer.extent.length ? places : null;
    this.extent = this.places && places.map((place) => (place < 0 ? 1 : layer.extent[place]));
    const input = page.inputs[source];
    this.titles[0].replaceChildren(h("strong", { text: "Input" }), ` ${input.name}, ${shape(this.sizes)}`);
    this.titles[1].replaceChildren(
      h("strong", { text: "Map" }),
      ` ${layer.name}, ${layer.extent.length ? `${shape(layer.extent)} units` : "one unit"}`,
    );
    this.titles[1].title = layer.name;
    this.region = this.#region(page, source);
    const each = this.width >= 620 ? (this.width - 20) / 2 : this.width;
    this.#size(0, this.ground, this.region, each);
    this.sketch.size(this.region, this.sizes, AXES);
    const usable = Boolean(this.extent);
    this.groups[1].hidden = this.hint.hidden = !usable;
    this.none.hidden = usable;
    if (usable) this.#size(1, this.map, this.extent.map((n) => [0, n]), each);
    for (const slice of this.ground) slice.base(this.sizes, this.region);
    if (usable) for (const slice of this.map) slice.base(this.extent, this.extent.map((n) => [0, n]));
    for (const slice of this.map) slice.label(`Map of ${layer.name}`, this.hint.id);
    this.chain = this.#chain(state);
    if (!this.chain.length) {
      this.chainKey = null;
      this.steps.replaceChildren();
    }
  }

  /** The input and as much padding as the network's largest fields reach into: the same for all layers. */
  #region(page, source) {
    if (this.known?.page === page && this.known.source === source) return this.known.region;
    const sizes = page.extent(source);
    const reach = (layer) => Math.max(
      0,
      ...layer.on(source).map((field) => (field.canvas ? (field.size ?? Infinity) / field.length : 0)),
    );
    const widest = page.layers.filter((layer) => reach(layer)).sort((a, b) => reach(b) - reach(a)).slice(0, 6);
    const all = widest.map((layer) => region(layer, source, sizes));
    const found = sizes.map((n, k) => [
      Math.min(0, ...all.map((one) => one[k][0])), Math.max(n, ...all.map((one) => one[k][1])),
    ]);
    this.known = { page, source, region: found };
    return found;
  }

  #size(k, slices, ranges, width) {
    const { scale, columns } = fit(ranges, width, k === 0);
    this.groups[k].style.gridTemplateColumns = `${columns[0]}px ${columns[1]}px`;
    for (const slice of slices) slice.size(ranges, scale);
  }

  /** Maps on the way whose parts are listed: those asked for, else the last of each size, three at most. */
  #chain({ page, through, marks, layer }) {
    if (!marks.way) return [];
    if (through.length) return through.filter((k) => k < layer);
    const sizes = new Map();
    for (const one of page.layers.slice(0, layer)) {
      const key = one.extent.join();
      if (one.extent.length === 3 && key !== this.layer.extent.join()) sizes.set(key, one.number);
    }
    return [...sizes.values()].slice(-3);
  }

  // --- what moves with the unit

  #move(state) {
    const unit = shown(state);
    const { layer, sizes } = this;
    if (!layer || unit.length !== layer.extent.length) return;
    const { source, marks } = state;
    const found = facts(layer, source, unit);
    const lies = found.fields.length === 3;
    const at = sizes.map((n, k) => {
      const centre = lies && Number.isFinite(found.centre[k]) ? found.centre[k] : n / 2;
      return clamp(Math.floor(centre), 0, n - 1);
    });
    this.at = at;
    // Until the browser has laid the slices out they have no scale.
    for (const slice of this.ground) if (slice.ready) this.#ground(slice, found, at, marks, lies, state);
    this.sketch.draw(lies ? found : null, marks, at);
    if (this.extent) {
      const cell = this.#cell(unit);
      for (const slice of this.map.filter((one) => one.ready)) {
        const [down, right, fixed] = slice.axes;
        slice.title(cell[fixed]);
        const place = slice.pane.rectangle([cell[down], cell[down] + 1], [cell[right], cell[right] + 1], 4);
        put(slice.unit, { ...place, "data-unit": unit.join() });
        slice.unit.classList.toggle("pinned", Boolean(state.pinned));
      }
    }
    this.#way(state, unit);
  }

  #ground(slice, found, at, marks, lies, state) {
    const { pane, axes: [down, right, fixed] } = slice;
    slice.title(at[fixed]);
    slice.centres(marks.centres && lies ? this.#dots(slice, shown(state)) : null);
    const cut = (hulls) => {
      const usable = lies && hulls.length === 3 && hulls.every(Boolean) && !blank(hulls);
      const missed = !usable || at[fixed] < hulls[fixed][0] || at[fixed] >= hulls[fixed][1];
      return missed ? [[0, 0], [0, 0]] : [hulls[down], hulls[right]];
    };
    const flat = {
      box: cut(found.box),
      local: cut(found.local),
      centre: lies ? [found.centre[down], found.centre[right]] : [],
      global: found.global,
      reach: cut(found.reach ?? []),
    };
    slice.marks.draw(flat, { marks, sizes: [this.sizes[down], this.sizes[right]], dim: false, pixel: null });
    // Numbers of ends outside of a thin slice would lie on each other; they stand above.
    const [rows, columns] = pane.region.map(([from, to]) => to - from);
    if (rows * pane.sy < 60) slice.marks.ends.slice(0, 2).forEach((end) => seen(end, false));
    if (columns * pane.sx < 110) slice.marks.ends.slice(2).forEach((end) => seen(end, false));
    pane.element.dataset.at = at[fixed];
    pane.element.dataset.region = JSON.stringify(pane.region);
  }

  /** Centres of the units along the axes of a slice, the third entry as the unit has it. */
  #dots({ pane, axes: [down, right] }, unit) {
    if (!this.places) return null;
    const fields = this.layer.on(this.store.state.source);
    const along = (axis) => {
      const n = this.extent[axis];
      const every = Math.max(1, Math.ceil(n / 60));
      const out = [];
      for (let i = 0; i < n; i += every) out.push(fields[axis].middle(this.#unit(unit, axis, i)));
      return out.filter(Number.isFinite);
    };
    const columns = along(right);
    return along(down).map(
      (row) => columns.map((column) => `M${pane.x(column).toFixed(1)} ${pane.y(row).toFixed(1)}h0`).join("")
    ).join("");
  }

  #cell(unit) {
    return this.places.map((place) => (place < 0 ? 0 : unit[place]));
  }

  /** The unit with entry i along an axis of the input. */
  #unit(unit, axis, i) {
    const place = this.places[axis];
    return place < 0 ? unit : unit.map((old, k) => (k === place ? i : old));
  }

  #way(state, unit) {
    if (!this.chain.length) return;
    const found = way(state.page, this.layer, unit);
    const key = this.chain.join();
    if (this.chainKey !== key || this.chainPage !== state.page) {
      [this.chainKey, this.chainPage] = [key, state.page];
      this.words = this.chain.map(() => h("span", { class: "numbers" }));
      this.steps.replaceChildren(...this.chain.map((number, k) =>
        h(
          "li", { "data-layer": number },
          nameButton(state.page.layers[number].name, () => this.store.choose(number)),
          " ", this.words[k],
        )));
    }
    this.chain.forEach((number, k) => {
      const read = found.get(number);
      const sizes = () => read.hulls.map(hullText).join(" × ");
      let text = "not on the way";
      if (read && !read.known) text = ABSENT;
      else if (read?.global.some(Boolean)) text = "global";
      if (read?.known && read.reads) text = `${read.exact ? "" : "within "}${sizes()}`;
      this.words[k].textContent = text;
    });
  }

  // --- pointer and keys

  #interactive() {
    for (const slice of this.map) this.#mapSlice(slice);
    for (const slice of this.ground) {
      slice.pane.element.addEventListener("click", (event) => this.#go(slice, event));
    }
  }

  #mapSlice(slice) {
    const { element } = slice.pane;
    const { store } = this;
    const [down, right] = slice.axes;
    const pick = (event) => {
      if (!this.extent) return null;
      const [row, column] = slice.pane.under(event).map(Math.floor);
      if (row < 0 || column < 0 || row >= this.extent[down] || column >= this.extent[right]) return null;
      return this.#unit(this.#unit(shown(store.state), down, row), right, column);
    };
    put(element, { tabindex: "0", role: "application", "aria-roledescription": "slice of units" });
    element.addEventListener("pointermove", (event) => {
      const unit = pick(event);
      if (store.state.pinned || same(unit, store.state.hover)) return;
      store.set({ hover: unit });
    });
    element.addEventListener("pointerdown", (event) => {
      const unit = pick(event);
      if (!unit || event.button) return;
      press(store, unit);
    });
    element.addEventListener("pointerleave", () => store.set({ hover: null }));
    element.addEventListener("keydown", (event) => this.#key(slice, event));
  }

  #key(slice, event) {
    const { store } = this;
    if (!this.extent || event.altKey || event.metaKey || event.ctrlKey) return;
    const { state } = store;
    const unit = shown(state);
    const cell = this.#cell(unit);
    const [down, right, fixed] = slice.axes;
    const by = event.shiftKey ? 10 : 1;
    const to = {
      ArrowUp: [down, cell[down] - by], ArrowDown: [down, cell[down] + by],
      ArrowLeft: [right, cell[right] - by], ArrowRight: [right, cell[right] + by],
      Home: [right, 0], End: [right, this.extent[right] - 1],
      ",": [fixed, cell[fixed] - 1], ".": [fixed, cell[fixed] + 1],
    }[event.key];
    if (to) {
      const [axis, i] = to;
      store.set({ unit: this.#unit(unit, axis, clamp(i, 0, this.extent[axis] - 1)), hover: null });
      this.app.say(spoken(store.state));
      event.preventDefault();
    } else pinKey(event, this.app, unit);
  }

  /** Goes to the unit whose centre is nearest to a place on the input. */
  #go(slice, event) {
    if (!this.extent) return;
    const fields = this.layer.on(this.store.state.source);
    const wanted = slice.pane.under(event);
    let unit = shown(this.store.state);
    slice.axes.slice(0, 2).forEach((axis, k) => {
      let best = [Infinity, 0];
      for (let i = 0; i < this.extent[axis]; i += 1) {
        const off = Math.abs(fields[axis].middle(this.#unit(unit, axis, i)) - wanted[k]);
        if (off < best[0]) best = [off, i];
      }
      unit = this.#unit(unit, axis, best[1]);
    });
    this.store.set({ unit, hover: null });
    this.app.say(spoken(this.store.state));
  }
}
