// One of three orthogonal slices through a volume: its title, its drawing, and the scale that all three share.

import { h, s } from "../dom.js";
import { Pane, seen } from "./pane.js";
import { clamp } from "../scales.js";

/** What the axes of a volume are called, in their order. */
export const AXES = ["z", "y", "x"];

// What Pane leaves free around a drawing with numbers, in pixels: across, and from top to bottom.
const FREE = [50, 32];
const LEAST = 140;
const TALLEST = 520;
const LARGEST = 30; // pixels of one element

/** The scale at which three slices fit into a width, x and z beside each other; the columns' widths. */
export function fit(ranges, width, sketched) {
  const [z, y, x] = ranges.map(([from, to]) => to - from);
  const last = sketched ? LEAST : FREE[0];
  const gap = 8;
  const side = (scale) => Math.max(last, z * scale + FREE[0]);
  let scale = Math.min(LARGEST, (width - gap - 2 * FREE[0]) / (x + z));
  // Where the side slice is narrower than the sketch below it, x has what is left.
  if (side(scale) === last) scale = Math.min(LARGEST, (width - gap - FREE[0] - last) / x);
  scale = clamp(scale, 0.2, (TALLEST - 2 * FREE[1]) / (y + z));
  return { scale, columns: [Math.max(90, Math.round(x * scale + FREE[0])), Math.round(side(scale))] };
}

/** A slice along `axes`: [downwards, to the right, the one that it is at a place of]. */
export class Slice {
  constructor(kind, axes, call) {
    this.axes = axes;
    this.pane = new Pane({ kind: `${kind} slice`, numbered: true, call });
    this.words = h("span", { class: "numbers" });
    this.dots = s("path", { class: "pane-centres" });
    this.pane.marks.append(this.dots);
    this.element = h(
      "div", { class: "volume-slice", "data-axes": axes.join() },
      h("p", { class: "volume-title small" }, this.words), this.pane.element,
    );
  }

  get ready() {
    return this.pane.sx > 0;
  }

  title(at) {
    const [down, right, fixed] = this.axes.map((axis) => AXES[axis]);
    const text = `${down}, ${right} at ${fixed} = ${at}`;
    if (this.words.textContent !== text) this.words.textContent = text;
  }

  label(name, described) {
    const [down, right] = this.axes.map((axis) => AXES[axis]);
    this.pane.element.setAttribute("aria-label", `${name}: ${down} downwards, ${right} to the right`);
    this.pane.element.setAttribute("aria-describedby", described);
  }

  /** Sets the drawing's size, so that one element is `scale` pixels in each slice. */
  size(ranges, scale) {
    const [rows, columns] = this.axes.map((axis) => ranges[axis]);
    const { style } = this.pane.element;
    style.width = `${Math.round((columns[1] - columns[0]) * scale + FREE[0])}px`;
    style.height = `${Math.round((rows[1] - rows[0]) * scale + FREE[1])}px`;
  }

  /** What does not move: cells, frame and numbers. */
  base(sizes, ranges) {
    const { pane } = this;
    if (!pane.width) return;
    const [down, right] = this.axes;
    pane.look([ranges[down], ranges[right]]);
    const [rows, columns] = [sizes[down], sizes[right]];
    const whole = pane.rectangle([0, rows], [0, columns]);
    pane.base.replaceChildren(
      s("rect", { class: "pane-space", width: pane.width, height: pane.height }),
      s("rect", { class: "pane-input", ...whole }),
      s("path", { class: "pane-lines", d: pane.lines(rows, columns) }),
      s("rect", { class: "pane-frame", ...whole }),
      ...pane.numbers(rows, columns),
    );
  }

  /** Dots by path data, or none. */
  centres(path) {
    seen(this.dots, Boolean(path));
    if (path) this.dots.setAttribute("d", path);
  }
}
