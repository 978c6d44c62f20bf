// A small isometric sketch of a unit's box in the volume of the input.

import { h, s } from "../dom.js";
import { put, seen } from "./pane.js";
import { blank } from "./parts.js";

const SIZE = 140;
const [COS, SIN] = [Math.cos(Math.PI / 6), Math.sin(Math.PI / 6)];
// z goes to the left and down, x to the right and down, y down.
const flat = ([z, y, x]) => [(x - z) * COS, (x + z) * SIN + y];
const CORNERS = Array.from({ length: 8 }, (_, k) => [k & 1, (k >> 1) & 1, (k >> 2) & 1]);
const EDGES = CORNERS.flatMap(
  (a, i) => CORNERS.map((b, j) => [i, j]).filter(
    ([p, q]) => p < q && a.filter((v, k) => v !== CORNERS[q][k]).length === 1
  )
);
/** The edges that meet in the corner at the back, which the volume hides. */
const HIDDEN = CORNERS.findIndex(([z, y, x]) => !z && y && !x);
/** The faces that are seen: the top, z = its end, x = its end. */
const FACES = [[0, 1, 5, 4], [1, 3, 7, 5], [4, 5, 7, 6]];

/** The sketch; `size` sets what it shows, `draw` the unit. */
export class Sketch {
  constructor() {
    this.frame = s("path", { class: "sketch-frame" });
    this.back = s("path", { class: "sketch-back" });
    this.clipped = s("path", { class: "sketch-clipped" });
    this.box = s("path", { class: "sketch-box" });
    this.centre = s("circle", { class: "sketch-centre", r: 3 });
    this.names = s("g");
    const parts = [this.back, this.clipped, this.frame, this.box, this.centre, this.names];
    this.svg = s(
      "svg",
      {
        viewBox: `0 0 ${SIZE} ${SIZE}`, width: SIZE, height: SIZE, role: "img",
        "aria-label": "Sketch of the box in the volume",
      },
      parts,
    );
    this.element = h("div", { class: "volume-sketch" }, this.svg);
  }

  /** `ranges`: what is shown along each axis; `sizes`: of the input. */
  size(ranges, sizes, names) {
    this.ranges = ranges;
    const ends = CORNERS.map((corner) => flat(corner.map((end, k) => ranges[k][end])));
    const [xs, ys] = [0, 1].map((k) => ends.map((end) => end[k]));
    const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const scale = (SIZE - 16) / Math.max(right - left, bottom - top);
    this.place = (point) => {
      const [x, y] = flat(point);
      return [
        (x - (left + right) / 2) * scale + SIZE / 2, (y - (top + bottom) / 2) * scale + SIZE / 2,
      ].map((v) => Math.round(v * 10) / 10);
    };
    const whole = sizes.map((n) => [0, n]);
    this.back.setAttribute("d", this.#edges(whole, (i, j) => i === HIDDEN || j === HIDDEN));
    this.frame.setAttribute("d", this.#edges(whole, (i, j) => i !== HIDDEN && j !== HIDDEN));
    const [z, y, x] = sizes;
    const marks = [[z / 2, y, x, -4, 12], [0, y / 2, x, 7, 4], [z, y, x / 2, 4, 12]];
    // z along the lower right edge, y at the right, x along the lower left one, each at the middle.
    const at = [[z / 2, y, x], [0, y / 2, x], [z, y, x / 2]].map((point) => this.place(point));
    this.names.replaceChildren(...names.map((text, k) => s(
      "text",
      {
        x: at[k][0] + marks[k][3], y: at[k][1] + marks[k][4],
        "text-anchor": k === 0 ? "start" : k === 2 ? "end" : "start", text,
      },
    )));
  }

  #edges(hulls, test) {
    const at = CORNERS.map((corner) => this.place(corner.map((end, k) => hulls[k][end])));
    return EDGES.filter(([i, j]) => test(i, j)).map(([i, j]) => `M${at[i]}L${at[j]}`).join("");
  }

  draw(found, marks, at) {
    const usable = (hulls) => hulls.length === 3 && hulls.every(Boolean) && !blank(hulls);
    const inner = found && marks.clipped && usable(found.local);
    seen(this.clipped, inner);
    if (inner) {
      const corners = CORNERS.map((corner) => this.place(corner.map((end, k) => found.local[k][end])));
      put(
        this.clipped,
        {
          d: FACES.map((face) => `M${face.map((k) => corners[k]).join("L")}Z`).join(""),
          "data-hull": found.local.join(),
        },
      );
    }
    const outer = found && marks.box && usable(found.box);
    seen(this.box, outer);
    if (outer) {
      const near = found.box.map(([low, high], k) => [
        Math.max(low, this.ranges[k][0]), Math.min(high, this.ranges[k][1]),
      ]);
      put(this.box, { d: this.#edges(near, () => true), "data-hull": found.box.join() });
    }
    const [x, y] = this.place(
      found && found.centre.every(Number.isFinite) ? found.centre : at.map((n) => n + 0.5)
    );
    put(this.centre, { cx: x, cy: y });
  }
}
