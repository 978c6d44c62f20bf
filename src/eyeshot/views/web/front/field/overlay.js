// What the server found out about one unit, over the input: its exact set, holes and all, or its mass.

import { fresh, s } from "../dom.js";
import { put, seen } from "./pane.js";

/** The values as a picture of one pixel each: opaque where all is read, clear where nothing is. */
function picture({ shape: [rows, columns], values, kind }) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [columns, rows];
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(columns, rows);
  const most = values.reduce((a, b) => Math.max(a, b), 0) || 1;
  values.forEach((value, k) => {
    // Faint shares are still told from none; what is read at all is never fully clear.
    const share = kind === "mass" ? 0.08 + 0.92 * Math.sqrt(value / most) : 1;
    pixels.data.set([255, 255, 255, value > 0 ? Math.round(255 * share) : 0], 4 * k);
  });
  context.putImageData(pixels, 0, 0);
  return canvas.toDataURL("image/png");
}

/**
 * Draws `store.state.overlay` in a pane: {layer, unit, input, kind, shape, box, values}, of an input with
 * two axes.
 */
export class Overlay {
  #drawn = null;

  constructor(pane) {
    this.pane = pane;
    const id = fresh("exact");
    this.image = s("image", { preserveAspectRatio: "none", class: "exact-pixels" });
    this.fill = s("rect", { mask: `url(#${id})` });
    this.element = s(
      "g",
      { class: "mark-exact", visibility: "hidden" },
      s("mask", { id, "mask-type": "alpha" }, this.image),
      this.fill,
    );
    pane.marks.append(this.element);
  }

  draw({ overlay, layer, source, unit }) {
    const fits =
      overlay && overlay.layer === layer && overlay.input === source && overlay.unit.join() === unit.join();
    const usable = fits && overlay.shape.length === 2 && overlay.values.length > 0;
    seen(this.element, usable);
    if (!usable) return;
    if (this.#drawn !== overlay) {
      this.#drawn = overlay;
      this.image.setAttribute("href", picture(overlay));
      this.element.setAttribute("class", `mark-exact ${overlay.kind}`);
    }
    const place = this.pane.rectangle(...overlay.box);
    put(this.image, place);
    put(this.fill, place);
  }
}
