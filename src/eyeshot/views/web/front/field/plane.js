// The field view of an input with two axes: the input, the maps between, and the chosen layer's map.

import { fresh, h, s } from "../dom.js";
import { drawing } from "../frames.js";
import { clamp } from "../scales.js";
import { shape } from "../words.js";
import { Grid } from "./grid.js";
import { drawGround, Marks, region, within } from "./ground.js";
import { Pane, put, seen } from "./pane.js";
import { Overlay } from "./overlay.js";
import { facts, nearest, readers, runs, shown } from "./parts.js";
import { pinKey, press, same } from "./pins.js";
import { spoken } from "./readout.js";
import { Steps } from "./steps.js";

const HINT = "Point at a pixel to see in whose field it lies; a click goes to the unit centred nearest.";

/** Mounts the view. */
export function mount(element, app) {
  new Plane(element, app);
}

class Plane {
  #drawing;
  /** The pixel of the input that the pointer or the keyboard is on: [row, column]. */
  #pixel = null;

  constructor(element, app) {
    this.element = element;
    this.app = app;
    this.#drawing = drawing(app.store, {
      ready: ({ page, source }) => !element.hidden && page?.inputs[source].axes.length === 2,
      base: (state) => this.#draw(state),
      marks: (state) => this.ground.width && this.map.width && this.#move(state),
    });
    const call = () => this.later("base");
    this.ground = new Pane({ kind: "ground", numbered: true, call });
    this.map = new Pane({ kind: "map", numbered: true, call });
    this.marks = new Marks(this.ground);
    this.overlay = new Overlay(this.ground);
    this.readers = s("path", { class: "mark-readers" });
    this.unit = s("rect", { class: "mark-unit" });
    this.map.marks.append(this.readers, this.unit);
    this.titles = { ground: h("span", { class: "ellipsis" }), map: h("span", { class: "ellipsis" }) };
    this.notes = {
      ground: h("p", { class: "pane-note", id: fresh("plane-pixel") }),
      map: h("p", { class: "pane-note", id: fresh("plane-keys") }),
    };
    const frame = h("div", { class: "plane-view" });
    this.steps = new Steps(app, frame, call);
    element.append(frame);
    frame.append(
      h(
        "figure",
        { class: "plane-ground" },
        h("figcaption", {}, this.titles.ground),
        this.ground.element,
        this.notes.ground,
      ),
      this.steps.element,
      h(
        "figure",
        { class: "plane-map" },
        h("figcaption", {}, this.titles.map),
        this.map.element,
        this.notes.map,
      ),
    );
    this.#interactive();
    app.store.on(["page", "layer", "source", "through", "marks", "image", "dim", "zoom"], () =>
      this.later("base"),
    );
    app.store.on(["unit", "hover", "overlay"], () => this.later("marks"));
    this.later("base");
  }

  /** Draws with the next frame; "base" draws all. */
  later(what) {
    this.#drawing.later(what);
  }

  // --- drawing

  #draw(state) {
    const { page, source } = state;
    const layer = page.layers[state.layer];
    this.layer = layer;
    this.sizes = page.extent(source);
    this.grid = new Grid(layer, source);
    this.#pixel = null;
    this.#titles(page, source, layer);
    this.#frames();
    this.steps.choose(layer, state);
    if (!this.ground.width || !this.map.width) return;
    this.whole = region(layer, source, this.sizes);
    this.#ground(state);
    this.#map();
    this.steps.draw(source);
  }

  #titles(page, source, layer) {
    const input = page.inputs[source];
    this.titles.ground.replaceChildren(h("strong", { text: "Input" }), ` ${input.name}, ${shape(this.sizes)}`);
    const { kind, rows, columns, others } = this.grid;
    const units =
      { one: "one unit", tokens: `${layer.extent[0]} units in rows of ${columns}` }[kind] ??
      `${rows} × ${columns} units`;
    this.titles.map.replaceChildren(h("strong", { text: "Map" }), ` ${layer.name}, ${units}`);
    this.titles.map.title = layer.name;
    this.ground.element.setAttribute(
      "aria-label",
      `Input ${input.name}, ${shape(this.sizes)}: in whose field a pixel lies`,
    );
    this.map.element.setAttribute("aria-label", `Map of ${layer.name}, ${units}`);
    const slice = others.length ? " The map is one slice; the numbers above choose it." : "";
    this.notes.map.textContent = `Point, tap or use the arrow keys; a click pins the unit.${slice}`;
  }

  /** Heights follow from the shapes alone, so that nothing jumps as units are visited. */
  #frames() {
    const frame = (pane, [rows, columns]) => {
      const ratio = clamp(rows / columns, 0.3, 1.15);
      pane.element.style.aspectRatio = `1 / ${ratio}`;
    };
    frame(this.ground, this.sizes);
    frame(this.map, [this.grid.rows, this.grid.columns]);
  }

  #ground(state) {
    const found = facts(this.layer, state.source, shown(state));
    const zoomed = state.zoom ? region(this.layer, state.source, this.sizes, found.box) : this.whole;
    this.ground.look(zoomed);
    const { image, marks, source } = state;
    const dots = drawGround(this.ground, {
      sizes: this.sizes,
      image,
      layer: this.layer,
      source,
      centres: marks.centres,
    });
    const total = this.layer.count;
    this.ground.element.dataset.region = JSON.stringify(zoomed);
    this.hint = dots && dots < total ? `Centres of ${dots} of ${total} units are drawn.` : HINT;
  }

  #map() {
    const { map, grid } = this;
    map.look([[0, grid.rows], [0, grid.columns]]);
    const all = grid.rectangles(this.layer.extent.map((n) => [0, n]));
    // Rows of tokens are named by their first unit; one unit alone needs no number.
    const names = grid.kind === "tokens" ? { row: (r) => grid.unit(r, 0)[0] } : { row: String, column: String };
    map.base.replaceChildren(
      s("path", { class: "pane-cells", d: map.path(all) }),
      s("path", { class: "pane-lines", d: grid.lines(map, 5) }),
      ...(grid.kind === "one" ? [] : map.numbers(grid.rows, grid.columns, names)),
      s("path", { class: "pane-frame", d: map.path(all) }),
    );
  }

  #move(state) {
    const { source, marks, image } = state;
    const unit = shown(state);
    if (unit.length !== this.layer.extent.length) return;
    const found = facts(this.layer, source, unit);
    if (state.zoom && !within(found.box, this.ground.region, this.whole)) this.#ground(state);
    this.marks.draw(found, { marks, sizes: this.sizes, dim: image && state.dim !== false, pixel: this.#pixel });
    this.overlay.draw({ ...state, unit });
    const [row, column] = this.grid.cell(unit);
    put(this.unit, {
      ...this.map.rectangle([row, row + 1], [column, column + 1], 5),
      "data-unit": unit.join(),
    });
    this.unit.classList.toggle("pinned", Boolean(state.pinned));
    this.#inverse(state, unit);
    if (marks.way) this.steps.show(state.page, this.layer, unit);
  }

  /** The units that read the pixel pointed at. */
  #inverse(state, unit) {
    seen(this.readers, Boolean(this.#pixel));
    if (!this.#pixel) {
      this.notes.ground.textContent = this.hint ?? "";
      return;
    }
    const { layer } = this;
    const found = readers(layer, state.source, this.#pixel);
    const [row, column] = this.#pixel;
    const total = layer.count;
    const everyone = layer.on(state.source).some((field) => field.global);
    let text = `Row ${row}, column ${column}: `;
    let cells = [];
    if (!found.known) text += "in whose field it lies is not in this file";
    else {
      const units = total === 1 ? "unit" : "units";
      text += `in the ${everyone ? "local field" : "field"} of ${found.count} of ${total} ${units}`;
      const whole = everyone ? readers(layer, state.source, this.#pixel, true) : found;
      if (everyone) {
        text += whole.known ? `, with global context of ${whole.count}` : "; with global context, of more";
      }
      cells = this.#cells(found, unit);
    }
    this.notes.ground.textContent = text;
    put(this.readers, { d: this.map.path(cells), "data-count": found.count });
  }

  /** Readers as rectangles of the map; where it is one slice of several, those in the slice. */
  #cells({ along, units }, unit) {
    const { grid } = this;
    if (along) {
      if (grid.others.some((d) => !along[d].includes(unit[d]))) return [];
      const parts = along.map(runs);
      if (grid.kind !== "map") {
        return grid.kind === "one" ? [[0, 1, 0, 1]] : parts[0].flatMap((part) => grid.rectangles([part]));
      }
      const [down, across] = grid.places.map((place) => parts[place]);
      return down.flatMap((r) => across.map((c) => [...r, ...c])).slice(0, 5000);
    }
    const here = units.filter((one) => grid.others.every((d) => one[d] === unit[d]));
    return here.slice(0, 5000).map((one) => grid.cell(one)).map(([r, c]) => [r, r + 1, c, c + 1]);
  }

  // --- pointer and keys

  #interactive() {
    const { store } = this.app;
    const pick = (event) => {
      const [row, column] = this.map.under(event).map(Math.floor);
      return this.grid?.unit(row, column, shown(store.state)) ?? null;
    };
    const map = this.map.element;
    put(map, {
      tabindex: "0",
      role: "application",
      "aria-roledescription": "map of units",
      "aria-describedby": this.notes.map.id,
    });
    map.addEventListener("pointermove", (event) => {
      const unit = pick(event);
      const dragged = event.pointerType !== "mouse" && event.buttons;
      if ((store.state.pinned && !dragged) || same(unit, store.state.hover)) return;
      store.set({ hover: unit });
    });
    map.addEventListener("pointerdown", (event) => {
      const unit = pick(event);
      if (!unit || event.button) return;
      if (event.pointerType !== "mouse") map.setPointerCapture(event.pointerId);
      press(store, unit);
    });
    map.addEventListener("pointerup", (event) => {
      const { hover } = store.state;
      if (event.pointerType !== "mouse" && hover) store.set({ unit: hover, hover: null, pinned: true });
    });
    map.addEventListener("pointerleave", () => store.set({ hover: null }));
    map.addEventListener("keydown", (event) => this.#mapKey(event));
    this.#groundInteractive();
  }

  #mapKey(event) {
    const { store, say } = this.app;
    if (!this.grid || event.altKey || event.metaKey) return;
    const { rows, columns } = this.grid;
    const { state } = store;
    const from = shown(state);
    const [row, column] = this.grid.cell(from);
    const far = (n) => (event.shiftKey ? (n > 100 ? Math.round(n / 10) : 10) : 1);
    const to = {
      ArrowUp: () => [row - far(rows), column],
      ArrowDown: () => [row + far(rows), column],
      ArrowLeft: () => [row, column - far(columns)],
      ArrowRight: () => [row, column + far(columns)],
      Home: () => (event.ctrlKey ? [0, 0] : [row, 0]),
      End: () => (event.ctrlKey ? [rows - 1, columns - 1] : [row, columns - 1]),
    }[event.key];
    if (to) {
      event.preventDefault();
      const [r, c] = to();
      const unit = this.#nearest(
        clamp(r, 0, rows - 1),
        clamp(c, 0, columns - 1),
        from,
      );
      store.set({ unit, hover: null });
      say(spoken(store.state));
    } else pinKey(event, this.app, from);
  }

  /** The unit in a cell, or the last one before it in its row: the last row of tokens may be short. */
  #nearest(row, column, like) {
    for (let c = column; c >= 0; c -= 1) {
      const unit = this.grid.unit(row, c, like);
      if (unit) return unit;
    }
    return like;
  }

  #groundInteractive() {
    const ground = this.ground.element;
    put(ground, {
      tabindex: "0",
      role: "application",
      "aria-roledescription": "input",
      "aria-describedby": this.notes.ground.id,
    });
    const on = (pixel) => {
      if (String(pixel) === String(this.#pixel)) return;
      this.#pixel = pixel;
      this.later("marks");
    };
    const inside = ([row, column]) => row >= 0 && column >= 0 && row < this.sizes[0] && column < this.sizes[1];
    const pick = (event) => {
      if (!this.sizes) return null;
      const pixel = this.ground.under(event).map(Math.floor);
      return inside(pixel) ? pixel : null;
    };
    ground.addEventListener("pointermove", (event) => on(pick(event)));
    const go = (pixel) => {
      const { store, say } = this.app;
      store.set({
        unit: nearest(
          this.layer,
          store.state.source,
          pixel.map((at) => at + 0.5),
          shown(store.state),
        ),
        hover: null,
      });
      say(spoken(store.state));
    };
    ground.addEventListener("pointerdown", (event) => {
      const pixel = pick(event);
      on(pixel);
      if (pixel && !event.button && event.pointerType === "mouse") go(pixel);
    });
    ground.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && on(null));
    ground.addEventListener("blur", () => on(null));
    ground.addEventListener("keydown", (event) => {
      const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
      const move = moves[event.key];
      if (move && this.sizes) {
        event.preventDefault();
        const { store } = this.app;
        const { centre } = facts(this.layer, store.state.source, shown(store.state));
        const from =
          this.#pixel ?? this.sizes.map((n, d) => Math.floor(Number.isFinite(centre[d]) ? centre[d] : n / 2));
        const by = (n) => (event.shiftKey ? Math.max(1, n > 100 ? Math.round(n / 10) : 10) : 1);
        on(from.map((at, d) => clamp(at + move[d] * by(this.sizes[d]), 0, this.sizes[d] - 1)));
        this.#move(store.state);
        this.app.say(this.notes.ground.textContent);
      } else if (event.key === "Escape") on(null);
      else if (event.key === "Enter" && this.#pixel) {
        event.preventDefault();
        go(this.#pixel);
      }
    });
  }
}
