// The field view of an input with one axis: samples, the maps between, and the chosen layer's units above.

import { fresh, h, s } from "../dom.js";
import { drawing } from "../frames.js";
import { clamp, duration, round, thousands } from "../scales.js";
import { way } from "../way.js";
import { hull as hullText } from "../words.js";
import { between, facts, shown } from "./parts.js";
import { spoken } from "./readout.js";
import { ownReads, Row } from "./time.js";
import { interact, KEYS } from "./timekeys.js";
import { CELLS, drawBase, EDGE, FAN, INPUT, NAME } from "./timebase.js";
import { TimeTable } from "./timetable.js";

/** No more of the padding than this share of the input is shown on a side, before anyone zooms. */
const MARGIN = 0.5;
/** And so much where it has no end. */
const ENDLESS = 0.15;
const RATES = [8000, 16000, 22050, 24000, 44100, 48000];

const reads = (hull) => hull && hull[0] < hull[1];

/** Mounts the view. */
export function mount(element, app) {
  new Timeline(element, app);
}

class Timeline {
  #drawing;

  constructor(element, app) {
    Object.assign(this, { element, app, store: app.store, width: 0, view: null, moved: false, place: null });
    this.#drawing = drawing(app.store, {
      ready: ({ page, source }) => !element.hidden && this.width && page?.inputs[source].axes.length === 1,
      base: (state) => this.#draw(state),
      marks: (state) => this.#move(state),
    });
    this.hatch = fresh("time-hatch");
    this.#build();
    interact(this);
    const known = app.keys?.some((one) => one.where === "Time line"); // from another copy of this view
    if (!known) for (const [keys, text] of KEYS) app.keys?.push({ where: "Time line", keys, text });
    this.store.on(["page", "layer", "source", "through", "marks", "rate"], (_, changed) => {
      if (changed.has("page") || changed.has("source")) [this.moved, this.place] = [false, null];
      this.later("base");
    });
    this.store.on(["unit", "hover", "pinned"], () => this.later("marks"));
    new ResizeObserver(([{ contentRect: { width } }]) => {
      if (!width || Math.floor(width) === this.width) return;
      this.width = Math.floor(width);
      this.later("base");
    }).observe(this.stage);
    // At once where it can be, so that nothing below moves after the first picture.
    this.width = Math.floor(this.stage.clientWidth);
    this.#drawing.now();
  }

  #build() {
    const button = (text, name, call) => h(
      "button",
      { type: "button", class: "button small", "aria-label": name, title: name, onclick: call }, text,
    );
    this.places = [["centre", "Centres"], ["own", "Own samples"]].map(([place, text]) =>
      h("button", {
        type: "button", class: "button small", "data-place": place,
        onclick: () => {
          this.place = place;
          this.later("base");
        },
      }, text));
    const list = h(
      "datalist", { id: fresh("time-rates") }, RATES.map((rate) => h("option", { value: rate })),
    );
    this.rate = h(
      "input",
      {
        type: "number", class: "time-rate", min: "1", step: "any", list: list.id, placeholder: "none",
        inputmode: "decimal",
      },
    );
    this.rate.addEventListener("change", () => {
      const value = Number(this.rate.value);
      this.store.set({ rate: this.rate.value && value > 0 && Number.isFinite(value) ? value : null });
    });
    this.tools = h("div", { class: "time-tools field-row no-print" },
      h("span", { class: "segments", role: "group", "aria-label": "Where units stand" }, this.places),
      h("span", { class: "segments", role: "group", "aria-label": "Part of the time line" },
        button("◂", "Earlier", () => this.pan(-0.3)), button("−", "Zoom out", () => this.zoom(2)),
        button("+", "Zoom in", () => this.zoom(0.5)),
        button("▸", "Later", () => this.pan(0.3)), button(
          "Field", "Zoom to the unit’s field", () => this.fit(),
        ), button("All", "Show the whole input", () => this.home())),
      h("label", {}, "Rate", this.rate, "Hz", list));
    this.base = s("svg", { class: "time-base", "aria-hidden": "true" });
    this.marks = s("svg", { class: "time-marks", "aria-hidden": "true" });
    this.hint = h(
      "p",
      { class: "pane-note small muted", id: fresh("time-keys") },
      "Point or use ← and → (Shift: ten), a click pins. Drag or ↑ ↓ to pan, + and −, or Ctrl and the " +
      "wheel, to zoom.",
    );
    this.stage = h(
      "div",
      {
        class: "time-stage", tabindex: "0", role: "application", "aria-roledescription": "time line of units",
        "aria-describedby": this.hint.id,
      },
      this.base, this.marks,
    );
    this.table = new TimeTable();
    this.element.append(h("div", { class: "time" }, this.tools, this.stage, this.hint, this.table.element));
  }

  /** Draws with the next frame; "base" draws all. */
  later(what) {
    this.#drawing.later(what);
  }

  // --- the part of time that is seen

  /** All of the input and, up to a bound, of the padding that the layer's boxes reach into. */
  #whole(row) {
    const { length, field, n } = row;
    let [from, to] = [0, length];
    if (field) {
      const few = Math.min(n, row.period, 64);
      for (let k = 0; k < few; k += 1) {
        for (const i of [k, n - 1 - k]) {
          const box = field.box(row.unit(i));
          if (reads(box)) [from, to] = [Math.min(from, box[0]), Math.max(to, box[1])];
        }
      }
    }
    const most = (end) => Math.max(2, length * (Number.isFinite(end) ? MARGIN : ENDLESS));
    [from, to] = [Math.max(from, -most(from)), Math.min(to, length + most(to))];
    const air = (to - from) * 0.02;
    return [from - air, to + air];
  }

  home() {
    this.moved = false;
    this.later("base");
  }

  /** Shows another part of time, within bounds. */
  see(from, to) {
    const least = 6;
    const most = 4 * (this.all[1] - this.all[0]);
    const wide = clamp(to - from, least, most);
    const middle = clamp((from + to) / 2, this.all[0], this.all[1]);
    this.view = [middle - wide / 2, middle + wide / 2];
    this.moved = true;
    this.later("base");
  }

  zoom(by, around = (this.view[0] + this.view[1]) / 2) {
    const [from, to] = this.view;
    this.see(around + (from - around) * by, around + (to - around) * by);
  }

  pan(share) {
    const [from, to] = this.view;
    const by = (to - from) * share;
    this.see(from + by, to + by);
  }

  fit() {
    const { box } = facts(this.layer, this.store.state.source, shown(this.store.state));
    if (!reads(box[0])) return;
    const [low, high] = [Math.max(box[0][0], this.all[0]), Math.min(box[0][1], this.all[1])];
    const own = this.rows[0].span(this.index(this.store.state));
    const [from, to] = [Math.min(low, own[0]), Math.max(high, own[1])];
    this.see(from - (to - from) * 0.12, to + (to - from) * 0.12);
  }

  x(time) {
    return EDGE + ((time - this.view[0]) / (this.view[1] - this.view[0])) * (this.width - 2 * EDGE);
  }

  time(event) {
    const x = event.clientX - this.stage.getBoundingClientRect().left - this.stage.clientLeft;
    return this.view[0] + ((x - EDGE) / (this.width - 2 * EDGE)) * (this.view[1] - this.view[0]);
  }

  /** x, kept near the drawing: paths to far outside and to infinity end just beyond its edges. */
  near(time) {
    return round(clamp(this.x(time), -20, this.width + 20));
  }

  /** The unit that is shown, as a place in the chosen layer's row. */
  index(state) {
    return this.rows[0].dim < 0 ? 0 : shown(state)[this.rows[0].dim];
  }

  // --- what does not move

  #draw(state) {
    const { page, source, marks, rate } = state;
    const layer = page.layers[state.layer];
    const [field] = layer.on(source);
    this.layer = layer;
    const place = this.place ?? (field && ownReads(field) ? "own" : "centre");
    for (const one of this.places) one.setAttribute("aria-pressed", String(one.dataset.place === place));
    const numbers = state.through.length
      ? state.through.filter((k) => k < layer.number)
      : between(page, layer, source);
    const through = marks.way ? numbers.toSorted((a, b) => b - a) : [];
    this.rows = [layer, ...through.map((k) => page.layers[k])].map((one) => new Row(one, source, place));
    this.all = this.#whole(this.rows[0]);
    if (!this.moved || !this.view) this.view = this.all;
    if (document.activeElement !== this.rate) this.rate.value = rate ?? "";
    this.rows.forEach((row, k) => (row.y = k * (NAME + CELLS + FAN) + NAME));
    // The input stays where it is from layer to layer, as long as the page chooses what lies between.
    const places = Math.max(this.rows.length, Math.min(4, page.layers.length));
    this.foot = places * (NAME + CELLS + FAN) + NAME;
    const height = this.foot + INPUT + 22 + (rate ? 56 : 34);
    this.stage.style.height = `${height}px`;
    for (const svg of [this.base, this.marks]) {
      svg.setAttribute("viewBox", `0 0 ${this.width} ${height}`);
      svg.setAttribute("height", height);
    }
    this.stage.dataset.view = JSON.stringify({
      from: this.view[0], to: this.view[1], left: EDGE, width: this.width - 2 * EDGE,
    });
    this.stage.dataset.place = place;
    this.stage.setAttribute(
      "aria-label",
      `Units of ${layer.name} over the time of ${page.inputs[source].name}`,
    );
    drawBase(this, page.inputs[source], rate, marks.centres);
  }

  // --- what moves with the unit

  #move(state) {
    const unit = shown(state);
    const { layer, rows } = this;
    if (!rows || unit.length !== layer.extent.length) return;
    const { source, marks } = state;
    for (const row of rows) row.others = row.layer === layer ? unit : row.layer.middle;
    const found = facts(layer, source, unit);
    this.table.write(state, found, unit);
    const out = [];
    const i = this.index(state);
    const cell = rows[0].span(i);
    let above = { span: cell, y: rows[0].y + CELLS };
    const ways = rows.length > 1 ? way(state.page, layer, unit) : null;
    const [box, local, centre] = [found.box[0], found.local[0], found.centre[0]];
    const bottom = { span: local, y: this.foot };
    rows.slice(1).forEach((row) => {
      const read = ways.get(row.layer.number);
      if (read?.global.some(Boolean)) out.push(this.#part(
        "time-global", row.spans([0, row.n]), row.y, CELLS,
        { "data-layer": row.layer.number, "data-part": "way-global" },
      ));
      const hull = read?.known && read.reads ? (row.dim < 0 ? [0, 1] : read.hulls[row.dim]) : null;
      if (!reads(hull)) return;
      const span = row.spans(hull);
      if (above) out.push(this.#fan(above, { span, y: row.y }));
      above = { span, y: row.y + CELLS };
      const raw = row.dim < 0 ? hull : read.raw[row.dim];
      if (raw[0] < hull[0] || raw[1] > hull[1]) out.push(this.#part(
        "time-raw", this.#far(row, raw), row.y, CELLS, { "data-layer": row.layer.number, "data-part": "raw" },
      ));
      out.push(this.#part(
        read.exact ? "time-way" : "time-way within", span, row.y, CELLS,
        { "data-layer": row.layer.number, "data-part": "way", "data-hull": hull.join() },
      ));
    });
    if (reads(local)) out.push(this.#fan(above, bottom));
    out.push(
      this.#part("time-unit", cell, rows[0].y, CELLS, {
        "data-part": "unit",
        "data-unit": unit.join(),
        class: state.pinned ? "time-unit pinned" : "time-unit",
      }),
    );
    if (found.reach && marks.box) {
      out.push(
        this.#part("time-global", found.reach[0], this.foot, INPUT, {
          "data-part": "global",
          "data-hull": found.reach[0].join(),
        }),
      );
    }
    if (marks.clipped && reads(local)) {
      out.push(
        this.#part("time-clipped", local, this.foot, INPUT, {
          "data-part": "clipped",
          "data-hull": local.join(),
        }),
      );
    }
    if (marks.box && reads(box)) out.push(...this.#box(box));
    if (Number.isFinite(centre)) {
      const x = round(this.x(centre));
      out.push(s(
        "path",
        {
          class: "time-centre", "data-part": "centre", "data-centre": centre,
          d: `M${x} ${this.foot - 3}V${this.foot + INPUT + 3}`,
        },
      ));
    }
    this.marks.replaceChildren(...out);
  }

  /** Where units stand that may lie outside a map: beyond its ends they go on at its jump. */
  #far(row, [low, high]) {
    const at = (i, end) => {
      if (!Number.isFinite(i)) return i;
      const inside = clamp(end ? i - 1 : i, 0, row.n - 1);
      return row.span(inside)[end] + (end ? i - 1 - inside : i - inside) * row.jump;
    };
    return [at(low, 0), at(high, 1)];
  }

  #part(kind, [from, to], y, height, more) {
    const [left, right] = [this.near(from), this.near(to)];
    const wide = Math.max(3, right - left);
    return s(
      "rect",
      {
        class: kind, x: round((left + right - wide) / 2), y, width: wide, height, "data-begin": from,
        "data-end": to, ...more,
      },
    );
  }

  #fan(above, below) {
    const [a, b] = above.span.map((time) => this.near(time));
    const [c, d] = below.span.map((time) => this.near(time));
    return s("path", { class: "time-fan", d: `M${a} ${above.y}H${b}L${d} ${below.y}H${c}Z` });
  }

  /**
   * The unclipped box; where it has no end, or goes on outside of what is seen, an arrow; and the numbers of
   * its ends.
   */
  #box(box) {
    const out = [this.#part(
      "time-box", box, this.foot - 4, INPUT + 8, { "data-part": "box", "data-hull": box.join() },
    )];
    const middle = this.foot + INPUT / 2;
    const arrow = (x, way) => s(
      "path",
      { class: "time-on", d: `M${x} ${middle - 6}l${6 * way} 6l${-6 * way} 6` },
    );
    const [low, high] = box.map((time) => this.x(time));
    if (low < 0) {
      if (box[0] === -Infinity) for (let k = 0; k < 3; k += 1) out.push(s(
        "g", { class: `time-fade f${k}` }, arrow(10 + 9 * (2 - k), -1),
      ));
      else out.push(arrow(9, -1));
    }
    if (high > this.width) {
      if (box[1] === Infinity) for (let k = 0; k < 3; k += 1) out.push(s(
        "g", { class: `time-fade f${k}` }, arrow(this.width - 10 - 9 * (2 - k), 1),
      ));
      else out.push(arrow(this.width - 9, 1));
    }
    const texts = [box[0], box[1]].map(thousands);
    const wide = texts.map((text) => text.length * 7.2 + 6);
    const y = this.foot + INPUT + 16;
    const keep = (x, w) => clamp(x, w / 2, this.width - w / 2);
    const [a, b] = [keep(low, wide[0]), keep(high, wide[1])];
    const label = (x, text) => s("text", { class: "time-end", x: round(x), y, "text-anchor": "middle", text });
    if (b - a >= (wide[0] + wide[1]) / 2) out.push(label(a, texts[0]), label(b, texts[1]));
    else out.push(label(keep((low + high) / 2, wide[0] + wide[1] + 16), hullText(box)));
    return out;
  }

  /** Moves what is seen so far that a unit is in it. */
  follow([from, to]) {
    const [a, b] = this.view;
    if (!this.moved || (from >= a && to <= b)) return;
    const by = from < a ? from - a - (b - a) * 0.2 : to - b + (b - a) * 0.2;
    this.see(a + by, b + by);
  }

  said() {
    const { state } = this.store;
    const { rate } = state;
    const { box } = facts(this.layer, state.source, shown(state));
    const lasts = rate && reads(box[0]) ? `, ${duration(box[0][1] - box[0][0], rate)}` : "";
    return `${spoken(state)}${lasts}`;
  }
}
