// The maps between the input and the chosen layer, and what a unit reads of each on its way.

import { h, s } from "../dom.js";
import { way } from "../way.js";
import { ABSENT, shape } from "../words.js";
import { Grid } from "./grid.js";
import { Pane, put, seen } from "./pane.js";
import { between } from "./parts.js";

/** What is seen around a small map of `n` units along a side. */
const margin = (n) => Math.max(0.5, n * 0.12);

/** A hull cut to what that margin shows. */
const near = ([low, high], n) => [Math.max(low, -margin(n)), Math.min(high, n + margin(n))];

/** Small maps in a column; `frame` has room for as many as may come. `call`: when the size of one changes. */
export class Steps {
  /** The unit that is shown, as text. */
  #shown = null;

  constructor(app, frame, call) {
    this.app = app;
    this.frame = frame;
    this.call = call;
    this.steps = [];
    this.element = h("div", { class: "plane-steps" });
  }

  /** Chooses the maps: those asked for, or some. They stay as they are while these are the same. */
  choose(layer, state) {
    const { page } = state;
    this.#shown = null;
    const numbers = state.through.length
      ? state.through.filter((k) => k < layer.number)
      : between(page, layer, state.source);
    this.element.hidden = !state.marks.way || !numbers.length;
    // What lies below stays where it is from layer to layer: there is room for the maps of the first layer.
    if (this.roomOf !== page) {
      this.roomOf = page;
      this.room = between(page, page.layers[page.first], state.source).length;
      this.frame.style.setProperty("--steps", this.room);
    }
    this.frame.classList.toggle("direct", this.element.hidden && !(state.marks.way && this.room));
    const key = numbers.join();
    if (this.key === key && this.page === page) return;
    [this.key, this.page] = [key, page];
    this.steps = numbers.map((number) => {
      const pane = new Pane({ kind: "step", numbered: false, call: this.call });
      const one = page.layers[number];
      const raw = s("path", { class: "mark-raw" });
      const part = s("path", { class: "mark-part" });
      const all = s("path", { class: "mark-all" });
      pane.marks.append(raw, part, all);
      const word = h("span", { class: "step-word" });
      const name = h(
        "button",
        {
          type: "button",
          class: "name",
          title: `${one.name}: choose this layer`,
          onclick: () => this.app.store.choose(number),
        },
        h("bdi", { text: one.name }),
      );
      const element = h(
        "figure",
        { class: "plane-step", "data-layer": number },
        h("figcaption", {}, name),
        pane.element,
        word,
      );
      return { number, layer: one, pane, raw, part, all, word, element };
    });
    this.element.replaceChildren(
      h("h3", { class: "plane-steps-head", text: "Through" }),
      ...this.steps.map((step) => step.element),
    );
  }

  /** What does not move: the maps, as input `source` sees them. */
  draw(source) {
    for (const step of this.steps) if (step.pane.width) this.#map(step, source);
  }

  #map({ layer, pane, all: frame }, source) {
    const grid = new Grid(layer, source);
    const [dr, dc] = [grid.rows, grid.columns].map(margin);
    pane.look([[-dr, grid.rows + dr], [-dc, grid.columns + dc]]);
    pane.grid = grid;
    const all = pane.path(grid.rectangles(layer.extent.map((n) => [0, n])));
    frame.setAttribute("d", all);
    pane.base.replaceChildren(
      s("path", { class: "pane-cells", d: all }),
      s("path", { class: "pane-lines", d: grid.lines(pane, 4) }),
      s("path", { class: "pane-frame", d: all }),
    );
  }

  /** What a unit of the chosen layer reads of each map. */
  show(page, chosen, unit) {
    // Pointing at the input moves no unit.
    if (!this.steps.length || this.#shown === unit.join()) return;
    this.#shown = unit.join();
    const found = way(page, chosen, unit);
    for (const { number, layer, pane, raw, part, all: frame, word, element } of this.steps) {
      if (!pane.grid) continue;
      const read = found.get(number);
      const flat = layer.extent.length < 3;
      const usable = read?.known && read.reads && flat && layer.extent.length > 0;
      seen(part, usable);
      seen(raw, usable);
      const all = Boolean(read?.known && read.global.some(Boolean));
      const every = all && read.global.every(Boolean);
      // A dim that is read by global context alone is read as a whole.
      const whole = (d) => read.hulls[d][0] >= read.hulls[d][1] && read.global[d];
      const hulls = usable && read.hulls.map((hull, d) => (whole(d) ? [0, layer.extent[d]] : hull));
      const sizes = usable ? hulls.map(([low, high], d) => (whole(d) ? "all" : high - low)) : [];
      const size = sizes.join(" × ");
      seen(frame, all);
      // Along dims that are not read as a whole the frame is as wide as what is read.
      const frames = all && layer.extent.map((n, d) => (read.global[d] ? [0, n] : read.hulls[d]));
      if (all && pane.grid && flat) frame.setAttribute("d", pane.path(pane.grid.rectangles(frames)));
      let text = "not on the way";
      if (read && !read.known) text = ABSENT;
      else if (usable) {
        text = `${read.exact ? "" : "within "}${size}${all && !size.includes("all") ? " + global" : ""}`;
      } else if (every) text = "all of it (global)";
      else if (read?.reads && !flat) text = size || shape(read.hulls.map(([low, high]) => high - low));
      if (word.textContent !== text) word.textContent = text;
      element.dataset.hulls = read?.known ? JSON.stringify(read.hulls) : "";
      if (!usable) continue;
      put(part, {
        d: pane.path(pane.grid.rectangles(hulls)),
        class: read.exact ? "mark-part" : "mark-part within",
      });
      const outside =
        pane.grid.kind === "map" && read.raw.some(([low, high], d) => low < 0 || high > layer.extent[d]);
      seen(raw, outside);
      if (!outside) continue;
      const around = pane.grid.places.flatMap((place) => near(read.raw[place], layer.extent[place]));
      raw.setAttribute("d", pane.path([around]));
    }
  }
}
