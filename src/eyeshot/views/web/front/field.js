// The field view: what one unit of the chosen layer reads. The panel, its controls and numbers; the drawing
// itself depends on the input's axes: one (a time line), two (a plane) or three (slices of a volume).

import { h } from "./dom.js";
import * as plane from "./field/plane.js";
import * as timeline from "./field/timeline.js";
import * as volume from "./field/volume.js";
import { imageTools } from "./field/image.js";
import { shown } from "./field/parts.js";
import { Picker } from "./field/picker.js";
import { Readout } from "./field/readout.js";
import { throughMenu } from "./field/through.js";
import { likewise } from "./store.js";
import { shape } from "./words.js";

const VIEWS = { 1: timeline, 2: plane, 3: volume };
const MARKS = [
  ["box", "Box", "All that the unit reads on an unbounded input, padding included"],
  ["clipped", "Inside", "The part of the box inside the input"],
  ["centres", "Centres", "The centres of all units"],
  ["way", "Way", "What the unit reads of maps on the way"],
];

/** Mounts the view. */
export function mount(element, app) {
  new FieldPanel(element, app);
}

class FieldPanel {
  #mounted = new Map();

  constructor(element, app) {
    this.app = app;
    const { store } = app;
    this.picker = new Picker({ label: "Layer", choose: (number) => this.#choose(number) });
    const stepper = (text, label, step) =>
      h(
        "button",
        {
          type: "button",
          class: "button icon",
          "aria-label": label,
          title: label,
          onclick: () => this.#step(step),
        },
        text,
      );
    this.before = stepper("‹", "Previous layer", -1);
    this.after = stepper("›", "Next layer", 1);
    this.input = h("select", {
      "aria-label": "Input",
      onchange: () => store.set({ source: Number(this.input.value) }),
    });
    this.inputLabel = h("label", {}, "Input ", this.input);
    this.units = h("span", { class: "unit-entries" });
    this.marks = MARKS.map(([key, name, title]) => this.#mark(key, name, title));
    this.through = throughMenu(app);
    this.zoom = h("button", {
      type: "button",
      class: "button small",
      text: "Zoom to box",
      title: "Shows the surroundings of the unit's box alone",
      onclick: () => store.set({ zoom: !store.state.zoom }),
    });
    this.readout = new Readout();
    this.views = h("div", { class: "field-views" });
    this.text = h("p", { class: "empty", hidden: true });
    this.image = imageTools(app, this.views);
    this.planeTools = h("span", { class: "field-plane-tools" }, this.zoom, this.image.element);
    this.panel = h("div", { class: "panel field-panel" },
      h("div", { class: "panel-head" }, h("h2", { text: "Field view" }),
        h("div", { class: "tools field-layer" }, this.before, this.picker.element, this.after)),
      h("div", { class: "tools field-tools" }, this.inputLabel, this.units,
        h("span", { class: "segments", role: "group", "aria-label": "What is drawn" }, this.marks),
        this.through.element, this.planeTools),
      this.image.said,
      this.readout.element,
      this.text,
      this.views,
    );
    element.append(this.panel);
    const where = "Field view";
    app.keys?.push(
      {
        where,
        keys: ["←", "↑", "→", "↓"],
        text: "to the next unit of the map or pixel of the input; Shift: further",
      },
      { where, keys: ["Home", "End"], text: "to the first and the last unit of a row, with Ctrl of the map" },
      { where, keys: ["Page Up", "Page Down"], text: "to the layer before and after" },
      { where, keys: ["Enter"], text: "pins the unit, or releases it, as Esc does; from a pixel, to its unit" },
    );
    this.panel.addEventListener("layerstep", (event) => this.#step(event.detail));
    store.on(["page"], () => this.#items());
    store.on(["page", "layer", "source"], () => this.#layer());
    store.on(["page", "layer", "source", "through"], () => this.#whole((state) => this.through.update(state)));
    store.on(["marks", "zoom"], () => this.#toggles());
    store.on(["page", "layer", "source", "unit", "hover", "pinned"], () =>
      this.#whole((state) => this.#numbers(state)),
    );
    this.#items();
    this.#layer();
    this.#toggles();
    this.#whole((state) => this.through.update(state));
    this.#whole((state) => this.#numbers(state));
  }

  /** Does something with the state, where there is a network. */
  #whole(act) {
    const { state } = this.app.store;
    if (state.page && state.layer !== null) act(state);
  }

  #mark(key, name, title) {
    const kind = key === "centres" ? "centre" : key;
    const { store } = this.app;
    return h("button", {
      type: "button", class: "button", title, "data-mark": key,
      onclick: () => store.set({ marks: { ...store.state.marks, [key]: !store.state.marks[key] } }),
    }, h("span", { class: `swatch ${kind}` }), name);
  }

  #toggles() {
    const { marks, zoom } = this.app.store.state;
    for (const button of this.marks) {
      button.setAttribute("aria-pressed", String(Boolean(marks[button.dataset.mark])));
    }
    this.zoom.setAttribute("aria-pressed", String(Boolean(zoom)));
  }

  #items() {
    const { page } = this.app.store.state;
    this.panel.hidden = !page;
    if (!page) return;
    this.picker.items = page.layers.map((layer) => ({
      value: layer.number,
      text: layer.name,
      note: `${layer.op}, ${layer.extent.length ? shape(layer.extent) : "one unit"}`,
    }));
    const many = page.inputs.length > 1;
    this.inputLabel.hidden = !many;
    this.input.replaceChildren(
      ...(many ? page.inputs.map((input, k) => h("option", { value: k, text: input.name })) : []),
    );
    // Room for as many entries as any layer has, so that what stands behind them stays where it is.
    const most = Math.max(0, ...page.layers.map((layer) => layer.extent.length));
    this.units.style.minWidth = `calc(2.8em + ${Math.min(most, 4)} * (4.6em + 6px))`;
  }

  /** What changes with the layer and the input: the names, the drawing. */
  #layer() {
    const { state } = this.app.store;
    const { page } = state;
    if (!page || state.layer === null) return;
    const layer = page.layers[state.layer];
    this.picker.value = layer.number;
    this.before.disabled = layer.number === 0;
    this.after.disabled = layer.number === page.layers.length - 1;
    this.input.value = String(state.source);
    this.#entries(layer);
    const axes = page.inputs[state.source].axes.length;
    const known = axes in VIEWS;
    for (const [count, view] of this.#mounted) view.hidden = count !== axes;
    this.planeTools.hidden = axes !== 2;
    this.text.hidden = known;
    this.text.textContent = known ? "" : `This input has ${axes} axes; no drawing, the numbers above say all.`;
    if (known && !this.#mounted.has(axes)) {
      const view = h("div", { class: "field-view", "data-axes": axes });
      this.#mounted.set(axes, view);
      this.views.append(view);
      VIEWS[axes].mount(view, this.app);
    }
  }

  /** A number field per unit dim. */
  #entries(layer) {
    const { store } = this.app;
    const key = `${layer.extent.join()}`;
    if (this.entriesKey === key) return;
    this.entriesKey = key;
    this.units.hidden = !layer.extent.length;
    const change = (d) => (event) => {
      const i = Number(event.target.value);
      const { unit } = store.state;
      if (!Number.isInteger(i) || i < 0 || i >= layer.extent[d]) return;
      store.set({ unit: unit.map((old, k) => (k === d ? i : old)), hover: null });
    };
    this.units.replaceChildren(
      "Unit ",
      ...layer.extent.map((n, d) =>
        h("input", {
          type: "number",
          min: 0,
          max: n - 1,
          step: 1,
          "aria-label": `Unit along dim ${d + 1} of ${layer.extent.length}, 0 to ${n - 1}`,
          oninput: change(d),
          onblur: () => this.#whole((state) => this.#numbers(state)),
        }),
      ),
    );
  }

  #numbers(state) {
    const unit = shown(state);
    if (unit.length !== state.page.layers[state.layer].extent.length) return;
    this.readout.write(state);
    [...this.units.querySelectorAll("input")].forEach((entry, d) => {
      if (document.activeElement !== entry || Number(entry.value) !== unit[d]) entry.value = unit[d];
    });
  }

  #step(step) {
    const { page, layer } = this.app.store.state;
    const next = page.layers[layer + step];
    if (!next) return;
    this.#choose(next.number);
    this.app.say(`Layer ${next.name}`);
  }

  /** Another layer; the unit stays at its place in the map as near as can be. */
  #choose(number) {
    const { store } = this.app;
    const { page, layer, unit } = store.state;
    const [old, next] = [page.layers[layer], page.layers[number]];
    store.choose(number, likewise(old, next, unit));
  }
}
