// How the field grows over the layers, in the order they run, against the input's size.

import { h, nameButton, s } from "./dom.js";
import { nextFrame } from "./frames.js";
import { crossing, curves, envelope, logReads, strongest } from "./growth/curves.js";
import { legend, numbers, sentence, short, summary, told } from "./growth/words.js";
import { clamp, logTicks, round, scale, thousands, ticks } from "./scales.js";

const HEIGHT = 300;
const MARGIN = { top: 26, right: 14, bottom: 42, left: 58 };
/**
 * On a linear axis the input's size is left above the drawing where it is this many times the largest field.
 */
const FAR = 2.5;

/** Draws the view into `element`. */
export function mount(element, app) {
  new Growth(element, app);
}

class Growth {
  constructor(element, app) {
    this.app = app;
    this.store = app.store;
    this.log = null; // null: whichever reads better
    this.width = 0;
    this.build(element);
    this.store.on(["page", "compare", "source"], () => this.renew());
    this.store.on(["layer", "pointed"], nextFrame(() => this.point()));
    new ResizeObserver(([entry]) => {
      const width = Math.floor(entry.contentRect.width);
      if (width && width !== this.width) {
        this.width = width;
        this.draw();
      }
    }).observe(this.plot);
    if (!app.keys?.some((one) => one.where === "Growth of the field")) {
      app.keys?.push({
        where: "Growth of the field", keys: ["←", "→"], text: "to the next layer; with Shift, ten layers",
      });
      app.keys?.push({ where: "Growth of the field", keys: ["Enter"], text: "choose that layer" });
    }
    // At once where it can be, so that nothing below moves after the first picture.
    this.width = Math.floor(this.plot.clientWidth);
    this.renew();
  }

  build(element) {
    const turn = (log) => () => {
      this.log = log;
      this.draw();
    };
    this.linear = h("button", { type: "button", class: "button small", onclick: turn(false) }, "Linear");
    this.logarithmic = h("button", { type: "button", class: "button small", onclick: turn(true) }, "Log");
    this.axis = h(
      "select",
      { "aria-label": "Axis of the input", onchange: () => this.pick(this.axis.selectedIndex) },
    );
    this.svg = s("svg", { class: "growth-picture", role: "img", height: HEIGHT });
    this.cursor = h(
      "div",
      { class: "growth-cursor", tabindex: "0", role: "slider", "aria-label": "Layers, in the order run" },
    );
    this.plot = h("div", { class: "growth-plot" }, this.svg, this.cursor);
    this.crossed = h("p", { class: "growth-crossing" });
    this.readout = h("p", { class: "growth-readout small numbers" });
    this.legend = h("ul", { class: "growth-legend small" });
    this.empty = h("p", { class: "empty" }, "No layer reads the input along an axis.");
    this.scales = h(
      "div", { class: "segments", role: "group", "aria-label": "Scale" }, this.linear, this.logarithmic,
    );
    this.body = h("div", {}, this.crossed, this.plot, this.readout, this.legend);
    element.append(
      h(
        "div",
        { class: "panel growth" },
        h(
          "div", { class: "panel-head" }, h("h2", {}, "Growth of the field"),
          h("div", { class: "tools" }, this.axis, this.scales),
        ),
        this.body,
        this.empty,
      ),
    );
    this.listen();
  }

  listen() {
    const { cursor } = this;
    const point = (event) => this.nearest(event.clientX - this.svg.getBoundingClientRect().left);
    cursor.addEventListener("pointermove", (event) => this.pointAt(point(event)));
    cursor.addEventListener("pointerleave", () => this.store.set({ pointed: null }));
    cursor.addEventListener("blur", () => this.store.set({ pointed: null }));
    cursor.addEventListener("click", (event) => this.choose(point(event)));
    cursor.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || !this.curve) return;
    const { points } = this.curve;
    const at = this.place();
    const by = {
      ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10,
    }[event.key];
    if (by) this.pointAt(points[clamp(at + by * (event.shiftKey ? 10 : 1), 0, points.length - 1)]);
    else if (event.key === "Home") this.pointAt(points[0]);
    else if (event.key === "End") this.pointAt(points.at(-1));
    else if (event.key === "Enter" || event.key === " ") this.choose(points[at]);
    else if (event.key === "Escape") this.store.set({ pointed: null });
    else return;
    event.preventDefault();
  }

  /** The place among the points of what is pointed at or, else, chosen. */
  place() {
    const { pointed, layer } = this.store.state;
    const wanted = pointed ?? layer;
    return Math.max(0, this.curve.points.findLastIndex((point) => point.number <= wanted));
  }

  pointAt(point) {
    if (point) this.store.set({ pointed: point.number });
  }

  choose(point) {
    if (!point) return;
    this.store.choose(point.number);
    this.app.say(`Chosen: ${told(point)}`);
  }

  nearest(x) {
    if (!this.curve) return null;
    const wanted = this.x.inverse(x) - 1;
    let [low, high] = [0, this.curve.points.length - 1];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.curve.points[middle].number <= wanted) low = middle;
      else high = middle;
    }
    const { points } = this.curve;
    return wanted - points[low].number <= points[high].number - wanted ? points[low] : points[high];
  }

  // --- what is shown

  renew() {
    const { page, compare, source } = this.store.state;
    this.lines = page ? curves(page) : [];
    const same = this.curve && page === this.page && source === this.source;
    const kept = same ? this.lines.find((curve) => curve.label === this.curve.label) : null;
    this.curve = kept ?? strongest(this.lines, source);
    if (page !== this.page) this.log = null;
    [this.page, this.source] = [page, source];
    this.others = compare ? curves(compare) : [];
    this.axis.replaceChildren(...this.lines.map((curve) => h("option", {}, curve.label)));
    this.axis.selectedIndex = this.lines.indexOf(this.curve);
    this.axis.hidden = this.lines.length < 2;
    this.body.hidden = this.scales.hidden = !this.curve;
    this.empty.hidden = Boolean(this.curve);
    this.draw();
  }

  pick(at) {
    this.curve = this.lines[at];
    this.draw();
  }

  /** The other network's line beside the one that is drawn: of the same input and axis, as near as can be. */
  get beside() {
    const { source, axes } = this.curve;
    const own = this.others.filter((curve) => curve.source === source);
    return own.find((curve) => curve.axes.includes(axes[0])) ?? own[0] ?? this.others[0] ?? null;
  }

  draw() {
    if (!this.curve || !this.width) return;
    const shown = [this.curve, this.beside].filter(Boolean);
    const log = this.log ?? logReads(shown);
    this.linear.setAttribute("aria-pressed", String(!log));
    this.logarithmic.setAttribute("aria-pressed", String(log));
    this.measure(shown, log);
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    this.svg.setAttribute("width", this.width);
    this.svg.replaceChildren(
      this.axes(shown, log), ...shown.toReversed().map((curve) => this.line(curve)), this.inputs(shown),
    );
    this.svg.append(...shown.map((curve) => this.passed(curve)));
    this.hair = s("g", { class: "growth-hair" });
    this.svg.append(this.hair);
    const { left, right, top, bottom } = MARGIN;
    Object.assign(
      this.cursor.style,
      {
        left: `${left - 8}px`, top: `${top}px`, width: `${this.width - left - right + 16}px`,
        height: `${HEIGHT - top - bottom}px`,
      },
    );
    this.tell(shown);
    this.point();
  }

  measure(shown, log) {
    const sizes = shown.flatMap((curve) => curve.points.map((point) => point.size)).filter(Number.isFinite);
    const highest = Math.max(1, ...sizes);
    const near = shown.filter(
      (c) => log || c.length <= FAR * highest || c.points.some((p) => p.global)
    ).map((c) => c.length);
    const top = Math.max(highest, ...near);
    this.top = log ? top * 2.4 : top * 1.1;
    this.low = log ? Math.max(0.7, Math.min(...sizes, top) * 0.8) : 0;
    const last = Math.max(
      ...shown.map((curve) => (curve === this.curve ? this.page : this.store.state.compare).layers.length)
    );
    this.last = last;
    this.x = scale(1, Math.max(2, last), MARGIN.left, this.width - MARGIN.right);
    this.y = scale(this.low, this.top, HEIGHT - MARGIN.bottom, MARGIN.top, log);
  }

  axes(shown, log) {
    const { left, right, bottom } = MARGIN;
    const foot = HEIGHT - bottom;
    const marks = log ? logTicks(this.low, this.top, 8) : ticks(0, this.top, 5, true);
    const group = s("g", { class: "growth-axes" });
    for (const value of marks) {
      const y = this.y(value);
      group.append(
        s("line", { x1: left, x2: this.width - right, y1: y, y2: y }),
        s("text", { x: left - 8, y: y + 4, "text-anchor": "end", text: thousands(value) }),
      );
    }
    const room = Math.max(2, Math.floor((this.width - left - right) / 80));
    for (const value of new Set([
      1,
      ...ticks(1, this.last, room, true).filter((k) => this.x(k) - this.x(1) > 28),
    ])) {
      if (value > this.last) continue;
      const x = this.x(value);
      group.append(
        s("line", { class: "tick", x1: x, x2: x, y1: foot, y2: foot + 4 }),
        s("text", { x, y: foot + 18, "text-anchor": "middle", text: thousands(value) }),
      );
    }
    group.append(
      s("line", { class: "foot", x1: left, x2: this.width - right, y1: foot, y2: foot }),
      s(
        "text",
        {
          class: "growth-title", x: this.width - right, y: HEIGHT - 5, "text-anchor": "end",
          text: "layer, in the order run",
        },
      ),
      s("text", { class: "growth-title", x: 4, y: 12, text: "size, in input elements" }),
    );
    return group;
  }

  line(curve) {
    const { known, upper, lower } = envelope(curve.points);
    const kind = curve === this.curve ? "growth-line own" : "growth-line other";
    const xs = known.map((point) => this.x(point.number + 1));
    const steps = (values) => values.map(
      (value, k) => `${k ? `H${round(xs[k])}V` : `M${round(xs[0])} `}${round(this.y(value))}`
    ).join("");
    const group = s("g", { class: kind });
    if (known.length) {
      if (upper.some((value, k) => value !== lower[k])) {
        const back = lower.map((value, k) => `V${round(this.y(value))}H${round(xs[k])}`).toReversed();
        group.append(
          s("path", { class: "growth-range", d: `${steps(upper)}${back.join("")}Z` }),
          s("path", { class: "growth-each", d: steps(known.map((point) => point.size)) }),
        );
      }
      group.append(s("path", { class: "growth-most", d: steps(upper) }));
    }
    if (known.length === 1) group.append(s(
      "circle",
      { class: "growth-only", cx: xs[0], cy: this.y(upper[0]), r: 3 },
    ));
    const marks = (points, y, shape) => points.map(
      (point) => `M${round(this.x(point.number + 1))} ${round(y)}${shape}`
    ).join("");
    const whole = curve.points.filter((point) => point.global);
    if (whole.length) group.append(s(
      "path",
      { class: "growth-global", d: marks(whole, this.y(curve.length), "m0 -5l5 5l-5 5l-5 -5Z") },
    ));
    const endless = curve.points.filter((point) => point.size === Infinity);
    if (endless.length) group.append(s(
      "path",
      { class: "growth-endless", d: marks(endless, MARGIN.top + 2, "m0 -5l5 9h-10Z") },
    ));
    return group;
  }

  /** The input's size as a line of its own; above the drawing where it is far above all fields. */
  inputs(shown) {
    const group = s("g", { class: "growth-input" });
    let before = null; // where the last label stands
    for (const length of new Set(shown.map((curve) => curve.length))) {
      const above = length > this.top;
      const y = above ? MARGIN.top : this.y(length);
      const ends = { x1: MARGIN.left, x2: this.width - MARGIN.right, y1: y, y2: y };
      if (!above) group.append(s("line", { "data-length": length, ...ends }));
      const text = `input ${thousands(length)}${above ? " ↑ above this chart" : ""}`;
      const place = { x: MARGIN.left + 6, y: y < MARGIN.top + 14 ? y + 15 : y - 6 };
      // Two that are nearly the same stand side by side.
      if (before && Math.abs(before.y - place.y) < 20) place.x = before.x + before.text.length * 7.5 + 10;
      group.append(s("text", { ...place, text }));
      before = { ...place, text };
    }
    return group;
  }

  /** A ring around the first layer that passes the input's size, and its name. */
  passed(curve) {
    const first = crossing(curve);
    if (!first) return s("g");
    const x = this.x(first.number + 1);
    const y = Number.isFinite(first.size) ? this.y(first.size) : MARGIN.top + 2;
    const late = x > this.width / 2;
    const room = Math.floor(((late ? x : this.width - x) - MARGIN.left / 2) / 7.4);
    const name = short(first.name, clamp(2 * (room >> 1), 8, 34));
    return s(
      "g",
      { class: curve === this.curve ? "growth-first own" : "growth-first other", "data-layer": first.number },
      s("circle", { cx: x, cy: y, r: 6 }),
      s(
        "text",
        {
          x: late ? x - 12 : x + 12, y: late && y > MARGIN.top + 16 ? y - 8 : y + 20,
          "text-anchor": late ? "end" : "start", text: name,
        },
      ),
    );
  }

  // --- words

  tell(shown) {
    const { page, compare } = this.store.state;
    const titles = compare && [page, compare].map((one) => one.called);
    const parts = shown.map((curve, k) => {
      const whose = titles ? [h("strong", {}, short(titles[k], 40)), ": "] : [];
      const named = (point) => (k ? h("span", { class: "mono" }, short(point.name)) : this.button(point));
      return h("span", { class: k ? "other" : "own" }, ...whose, ...sentence(curve, named), " ");
    });
    this.crossed.replaceChildren(...parts);
    this.svg.setAttribute("aria-label", summary(this.curve));
    this.legend.replaceChildren(...legend(shown, titles, Boolean(this.svg.querySelector(".growth-each"))));
  }

  button(point) {
    const more = { class: "name growth-name", "data-layer": point.number };
    return nameButton(point.name, () => this.choose(point), more);
  }

  // --- the layer pointed at, and the chosen one

  point() {
    if (!this.curve || !this.hair) return;
    const { pointed, layer } = this.store.state;
    const find = (wanted) => (
      wanted === null ? undefined : this.curve.points.find((point) => point.number === wanted)
    );
    const chosen = find(layer);
    const here = find(pointed);
    const [top, foot] = [MARGIN.top, HEIGHT - MARGIN.bottom];
    const mark = (point, kind) => {
      const x = this.x(point.number + 1);
      const known = Number.isFinite(point.size);
      const above = point.size === Infinity ? top : this.y(Math.min(this.curve.length, this.top));
      const y = known ? this.y(point.size) : above;
      return s(
        "g",
        { class: kind, "data-layer": point.number, "data-size": String(point.size) },
        s("line", { x1: x, x2: x, y1: top, y2: foot }),
        kind === "pointed" && known && s("line", { x1: MARGIN.left, x2: x, y1: y, y2: y }),
        s("circle", { cx: x, cy: y, r: 5 }),
      );
    };
    this.hair.replaceChildren(...[
      chosen && mark(chosen, "chosen"), here && mark(here, "pointed"),
    ].filter(Boolean));
    const said = here ?? chosen;
    const { points } = this.curve;
    const count = this.page.layers.length;
    const none = ["The chosen layer does not read this axis."];
    this.readout.replaceChildren(...(said ? numbers(said, count, here ? "pointed at" : "chosen") : none));
    const at = this.place();
    this.cursor.setAttribute("aria-valuemin", "1");
    this.cursor.setAttribute("aria-valuemax", String(points.length));
    this.cursor.setAttribute("aria-valuenow", String(at + 1));
    this.cursor.setAttribute("aria-valuetext", told(points[at]));
  }
}
