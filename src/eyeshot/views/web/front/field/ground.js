// The input under a unit's field: the user's image or a grid, and what is drawn on it.

import { s } from "../dom.js";
import { clamp } from "../scales.js";
import { number } from "../words.js";
import { put, seen } from "./pane.js";
import { blank } from "./parts.js";

const round = (value) => Math.round(value * 10) / 10;
/**
 * No more of the padding than this share of the input is shown on a side; of small inputs, this many pixels.
 */
const MARGIN = 0.35;
const PIXELS = 8;
const MAX_CENTRES = 4000;

/**
 * How far boxes of a layer reach outside an input of these sizes, as far as that is shown: per axis [before,
 * after].
 */
function margins(layer, source, sizes) {
  return layer.on(source).map((field, axis) => {
    const most = Math.max(Math.min(sizes[axis], PIXELS), Math.ceil(sizes[axis] * MARGIN));
    const count = field.place >= 0 ? layer.extent[field.place] : 1;
    const few = Math.min(count, Math.max(1, field.canvas?.period ?? 8), 64);
    let [low, high] = [0, sizes[axis]];
    for (let k = 0; k < few; k += 1) {
      for (const i of [k, count - 1 - k]) {
        const unit = layer.middle.slice();
        if (field.place >= 0) unit[field.place] = i;
        const hull = field.box(unit);
        if (hull && hull[0] < hull[1]) [low, high] = [Math.min(low, hull[0]), Math.max(high, hull[1])];
      }
    }
    return [Math.min(most, -low), Math.min(most, high - sizes[axis])];
  });
}

/** The region to show: rows and columns. With `box`, a unit's hulls, it is drawn closely around these. */
export function region(layer, source, sizes, box) {
  const around = margins(layer, source, sizes);
  const all = sizes.map((n, axis) => {
    const [before, after] = around[axis] ?? [0, 0];
    return [-before, n + after];
  });
  if (!box || box.some((hull) => !hull) || blank(box)) return all;
  const ends = box.map(([low, high], axis) => [Math.max(low, all[axis][0]), Math.min(high, all[axis][1])]);
  const side = Math.max(4, ...ends.map(([low, high]) => (high - low) * 1.8));
  return ends.map(([low, high], axis) => {
    const [from, to] = [all[axis][0], all[axis][1]];
    const length = Math.min(Math.ceil(side), to - from);
    const begin = Math.floor(clamp((low + high - length) / 2, from, to - length));
    return [begin, begin + length];
  });
}

/** Whether hulls lie inside a region, as far as the region could show them. */
export function within(box, shown, whole) {
  return box.every((hull, axis) => {
    if (!hull || hull[0] >= hull[1]) return true;
    const [low, high] = [Math.max(hull[0], whole[axis][0]), Math.min(hull[1], whole[axis][1])];
    return low >= shown[axis][0] && high <= shown[axis][1];
  });
}

/**
 * What does not move: image, cells, numbers, centres of all units. Returns how many of the units have a dot.
 */
export function drawGround(pane, { sizes, image, layer, source, centres }) {
  const [rows, columns] = sizes;
  const whole = pane.rectangle([0, rows], [0, columns]);
  const parts = [
    s("rect", { class: "pane-space", width: pane.width, height: pane.height }),
    ...padding(pane),
    s("rect", { class: "pane-input", ...whole }),
  ];
  if (image) {
    // As networks are fed: the shorter side fits, the rest is cut off evenly.
    parts.push(
      s("image", { class: "pane-image", ...whole, href: image.url, preserveAspectRatio: "xMidYMid slice" }),
    );
  }
  const lines = pane.lines(rows, columns);
  if (lines) parts.push(s("path", { class: image ? "pane-lines on-image" : "pane-lines", d: lines }));
  parts.push(s("rect", { class: "pane-frame", ...whole }));
  let dots = 0;
  if (centres && layer.on(source).length) {
    const [path, count] = centresOf(pane, layer, source);
    dots = count;
    parts.push(s("path", { class: "pane-centres", d: path, "data-count": count }));
  }
  pane.base.replaceChildren(...parts, ...pane.numbers(rows, columns));
  return dots;
}

/** Around the input: cells where these are large, and a word where there is room for it. */
function padding(pane) {
  const [[r0, r1], [c0, c1]] = pane.region;
  const parts = [];
  if (pane.sx >= 12 && pane.sy >= 12) {
    let path = "";
    for (let r = r0; r <= r1; r += 1) path += `M${round(pane.x(c0))} ${round(pane.y(r))}H${round(pane.x(c1))}`;
    for (let c = c0; c <= c1; c += 1) path += `M${round(pane.x(c))} ${round(pane.y(r0))}V${round(pane.y(r1))}`;
    parts.push(s("path", { class: "pane-outside", d: path }));
  }
  if (r0 < 0 && -r0 * pane.sy > 16) {
    parts.push(
      s("text", {
        class: "pane-word",
        x: round(pane.x(c0) + 4),
        y: round(pane.y(Math.min(0, r1)) - 5),
        text: "padding",
      }),
    );
  }
  return parts;
}

/** Dots at the centres of all units, of every k-th along each dim where they are many. */
function centresOf(pane, layer, source) {
  const picked = layer.fields.map((field, k) => k).filter((k) => layer.fields[k].source === source);
  const total = layer.count;
  const every = Math.max(1, Math.ceil((total / MAX_CENTRES) ** (1 / Math.max(1, layer.extent.length))));
  const unit = layer.extent.map(() => 0);
  let [path, count] = ["", 0];
  for (let d = 0; d >= 0; ) {
    const centre = layer.centre(unit);
    const [row, column] = picked.map((k) => centre[k]);
    if (Number.isFinite(row) && Number.isFinite(column)) {
      path += `M${round(pane.x(column))} ${round(pane.y(row))}h0`;
      count += 1;
    }
    for (d = unit.length - 1; d >= 0; d -= 1) {
      unit[d] += every;
      if (unit[d] < layer.extent[d]) break;
      unit[d] = 0;
    }
  }
  return [path, count];
}

/** The marks of one unit on the input. */
export class Marks {
  constructor(pane) {
    this.pane = pane;
    this.dim = s("path", { class: "mark-dim", "fill-rule": "evenodd" });
    this.global = s("rect", { class: "mark-global" });
    this.word = s("text", { class: "mark-word global", "text-anchor": "end" });
    this.clipped = s("rect", { class: "mark-clipped" });
    this.box = s("path", { class: "mark-box" });
    this.ends = Array.from({ length: 4 }, () => s("text", { class: "mark-word box" }));
    const d = "M-5 0H5M0 -5V5";
    this.centre = s("g", { class: "mark-centre" }, s("path", { class: "halo", d }), s("path", { d }));
    this.pixel = s("rect", { class: "mark-pixel" });
    const all = [
      this.dim,
      this.clipped,
      this.box,
      this.global,
      this.centre,
      this.pixel,
      ...this.ends,
      this.word,
    ];
    pane.marks.append(...all);
  }

  /** Draws what facts() says of a unit; `pixel` is [row, column] that the pointer is on, or null. */
  draw({ box, local, centre, global, reach }, { marks, sizes, dim, pixel }) {
    const { pane } = this;
    const known = (hulls) => hulls.length === 2 && hulls.every(Boolean) && !blank(hulls);
    const inner = known(local);
    seen(this.clipped, marks.clipped && inner);
    if (inner) put(this.clipped, { ...pane.rectangle(...local, 2), "data-hull": local.join() });
    const dimmed = dim && inner && !global;
    seen(this.dim, dimmed);
    if (dimmed) {
      const whole = [0, sizes[0], 0, sizes[1]];
      this.dim.setAttribute("d", pane.path([whole]) + pane.path([local.flat()]));
    }
    this.#outline(marks.box && known(box) ? box : null);
    const placed = centre.length === 2 && centre.every(Number.isFinite);
    seen(this.centre, placed);
    if (placed) {
      const at = [round(pane.x(centre[1])), round(pane.y(centre[0]))];
      put(this.centre, { transform: `translate(${at})`, "data-centre": centre.join() });
    }
    const framed = global && known(reach ?? []);
    seen(this.global, framed);
    seen(this.word, framed);
    if (framed) {
      const frame = pane.rectangle(...reach, 3);
      put(this.global, { ...frame, "data-hull": reach.join() });
      put(this.word, { x: frame.x + frame.width - 6, y: frame.y + frame.height - 7 });
      const all = reach.every(([begin, end], axis) => begin === 0 && end === sizes[axis]);
      // There may be no room for more in a frame around a part; the badge above says it.
      this.word.textContent = all ? "global: its field is all of the input" : "global";
    }
    seen(this.pixel, Boolean(pixel));
    if (pixel) put(this.pixel, pane.rectangle([pixel[0], pixel[0] + 1], [pixel[1], pixel[1] + 1], 4));
  }

  /** The box; a side that lies outside what is shown is left open, and a number says where it is. */
  #outline(box) {
    const { pane } = this;
    seen(this.box, Boolean(box));
    this.ends.forEach((end) => seen(end, false));
    if (!box) return;
    const limit = pane.region;
    const cut = box.map(([low, high], axis) => [low < limit[axis][0], high > limit[axis][1]]);
    const [rows, columns] = box.map(([low, high], axis) => [
      Math.max(low, limit[axis][0]),
      Math.min(high, limit[axis][1]),
    ]);
    if (rows[0] > rows[1] || columns[0] > columns[1]) return void seen(this.box, false);
    const { x, y, width, height } = pane.rectangle(rows, columns, 3);
    const [right, bottom] = [round(x + width), round(y + height)];
    const sides = [
      [cut[0][0], `M${x} ${y}H${right}`],
      [cut[0][1], `M${x} ${bottom}H${right}`],
      [cut[1][0], `M${x} ${y}V${bottom}`],
      [cut[1][1], `M${right} ${y}V${bottom}`],
    ];
    const path = sides.map(([away, side]) => (away ? "" : side)).join("");
    put(this.box, { d: path || "M0 0", "data-hull": box.join(), "data-place": [x, y, right, bottom].join() });
    const middle = [x + width / 2, y + height / 2];
    const write = (k, away, sign, value, place, anchor) => {
      seen(this.ends[k], away);
      if (!away) return;
      this.ends[k].textContent = `${sign} ${number(value)}`;
      put(this.ends[k], { x: round(place[0]), y: round(place[1]), "text-anchor": anchor });
    };
    write(0, cut[0][0], "▲", box[0][0], [middle[0], y + 13], "middle");
    write(1, cut[0][1], "▼", box[0][1], [middle[0], bottom - 5], "middle");
    write(2, cut[1][0], "◀", box[1][0], [x + 4, middle[1] + 4], "start");
    write(3, cut[1][1], "▶", box[1][1], [right - 4, middle[1] + 4], "end");
  }
}
