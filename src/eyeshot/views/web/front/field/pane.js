// A drawing with rows downwards and columns to the right: what stays under what moves, and their scale.

import { h, s } from "../dom.js";
import { round, ticks } from "../scales.js";

/**
 * Two SVGs, one above the other: `base` is drawn when the layer, the region or the size changes, `marks` with
 * every move of the pointer. Rows and columns are numbers of the drawn thing (pixels, units), edges included.
 */
export class Pane {
  /**
   * `ticks`: whether numbers stand along the top and the left. `call`: what to do when the size has changed.
   */
  constructor({ kind, numbered, call }) {
    this.base = s("svg", { class: "pane-base", "aria-hidden": "true" });
    this.marks = s("svg", { class: "pane-marks", "aria-hidden": "true" });
    this.element = h("div", { class: `pane ${kind}` }, this.base, this.marks);
    this.numbered = numbered;
    this.region = [[0, 1], [0, 1]];
    this.width = 0;
    this.height = 0;
    new ResizeObserver(([{ contentRect: { width, height } }]) => {
      if (width === this.width && height === this.height) return;
      [this.width, this.height] = [width, height];
      for (const svg of [this.base, this.marks]) svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      if (width && height) call();
    }).observe(this.element);
  }

  /**
   * Sets what is seen: rows and columns [from, to]. Squares stay squares unless the shape would be a thin line.
   */
  look([rows, columns]) {
    const [left, top, right, bottom] = this.numbered ? [40, 22, 10, 10] : [3, 3, 3, 3];
    const width = Math.max(1, this.width - left - right);
    const height = Math.max(1, this.height - top - bottom);
    const [tall, wide] = [rows[1] - rows[0], columns[1] - columns[0]];
    let [sx, sy] = [width / wide, height / tall];
    const square = Math.min(sx, sy);
    const thin = square * Math.min(tall, wide) < (this.numbered ? 48 : 12);
    if (!thin || Math.max(sx, sy) < 3 * square) sx = sy = square;
    this.region = [rows, columns];
    this.sx = sx;
    this.sy = sy;
    this.left = left + (width - sx * wide) / 2;
    this.top = top + (height - sy * tall) / 2;
  }

  x(column) {
    return this.left + (column - this.region[1][0]) * this.sx;
  }

  y(row) {
    return this.top + (row - this.region[0][0]) * this.sy;
  }

  /** The part of the drawing in which the region lies: left, top, right, bottom. */
  area() {
    const [rows, columns] = this.region;
    return [this.x(columns[0]), this.y(rows[0]), this.x(columns[1]), this.y(rows[1])].map(round);
  }

  /** The row and column under a pointer's event, as fractions. */
  under(event) {
    const { left, top } = this.element.getBoundingClientRect();
    return [
      (event.clientY - top - this.element.clientTop - this.top) / this.sy + this.region[0][0],
      (event.clientX - left - this.element.clientLeft - this.left) / this.sx + this.region[1][0],
    ];
  }

  /** Attributes of a <rect> around rows and columns; `least` pixels wide at least. */
  rectangle(rows, columns, least = 0) {
    const [x, y] = [this.x(columns[0]), this.y(rows[0])];
    const [width, height] = [this.x(columns[1]) - x, this.y(rows[1]) - y];
    const [dx, dy] = [Math.max(0, least - width), Math.max(0, least - height)];
    return { x: round(x - dx / 2), y: round(y - dy / 2), width: round(width + dx), height: round(height + dy) };
  }

  /** Path data of rectangles [row, past, column, past]. */
  path(rectangles) {
    return rectangles
      .map(([r0, r1, c0, c1]) => {
        const [x, y] = [this.x(c0), this.y(r0)];
        return `M${round(x)} ${round(y)}H${round(this.x(c1))}V${round(this.y(r1))}H${round(x)}Z`;
      })
      .join("");
  }

  /** Lines between cells where these are large enough to be told apart; "" where not. */
  lines(rows, columns, least = 5) {
    let path = "";
    if (this.sy >= least) {
      const [from, to] = [round(this.x(0)), round(this.x(columns))];
      for (let r = 1; r < rows; r += 1) path += `M${from} ${round(this.y(r))}H${to}`;
    }
    if (this.sx >= least) {
      const [from, to] = [round(this.y(0)), round(this.y(rows))];
      for (let c = 1; c < columns; c += 1) path += `M${round(this.x(c))} ${from}V${to}`;
    }
    return path;
  }

  /** Numbers along the top and the left: of cells where there is room for each, else of edges at round numbers.
   * `row` and `column` name them. */
  numbers(rows, columns, { row, column } = { row: String, column: String }) {
    const out = [];
    const seen = (n, [from, to]) => [Math.max(0, Math.ceil(from)), Math.min(n, Math.floor(to))];
    // Cells are numbered along both or along neither, so that a number means the same everywhere.
    const single = this.sx >= 18 && this.sy >= 18;
    const along = (n, region, scale, room, put) => {
      const [low, high] = seen(n, region);
      if (single) for (let i = low; i < high; i += 1) put(i, i + 0.5, false);
      else
        for (const i of ticks(low, high, Math.max(1, ((high - low) * scale) / (2 * room)), true)) {
          put(i, i, true);
        }
    };
    const frame = [[0, 0, this.width, this.height], this.area()].map(
      ([x0, y0, x1, y1]) => `M${x0} ${y0}H${x1}V${y1}H${x0}Z`,
    );
    out.push(s("path", { class: "pane-space", "fill-rule": "evenodd", d: frame.join("") }));
    const top = Math.max(14, this.y(this.region[0][0]) - 6);
    const left = Math.max(30, this.x(this.region[1][0]) - 6);
    let path = "";
    if (column && columns > 1) {
      along(columns, this.region[1], this.sx, 18, (i, at, edge) => {
        const text = column(i);
        const over = this.x(at) + 3.3 * String(text).length > this.width;
        const place = over
          ? { x: this.width - 1, "text-anchor": "end" }
          : { x: round(this.x(at)), "text-anchor": "middle" };
        out.push(s("text", { class: "tick", ...place, y: round(top), text }));
        if (edge) path += `M${round(this.x(at))} ${round(top + 2)}v4`;
      });
    }
    if (rows > 1) {
      along(rows, this.region[0], this.sy, 14, (i, at, edge) => {
        if (i >= rows && row !== String) return;
        out.push(
          s("text", {
            class: "tick",
            x: round(left - 4),
            y: round(this.y(at) + 4),
            "text-anchor": "end",
            text: row(i),
          }),
        );
        if (edge) path += `M${round(left - 1)} ${round(this.y(at))}h4`;
      });
    }
    if (path) out.push(s("path", { class: "tick-mark", d: path }));
    return out;
  }
}

/** Sets attributes of an element; null takes one away. */
export function put(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null) element.removeAttribute(name);
    else element.setAttribute(name, value);
  }
}

/** Shows or hides a drawn element. */
export function seen(element, visible) {
  if (visible) element.removeAttribute("visibility");
  else element.setAttribute("visibility", "hidden");
}
