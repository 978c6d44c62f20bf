// The few icons of the page, drawn in the colour of the text beside them.

import { s } from "./dom.js";

const icon = (...shapes) =>
  s(
    "svg",
    {
      viewBox: "0 0 16 16",
      "aria-hidden": "true",
      fill: "none",
      stroke: "currentColor",
      "stroke-width": 1.6,
      "stroke-linecap": "round",
      "stroke-linejoin": "round",
    },
    shapes,
  );
const path = (d) => s("path", { d });

const DRAWN = {
  error: () =>
    icon(
      path("M5.3 1.5h5.4l3.8 3.8v5.4l-3.8 3.8H5.3l-3.8-3.8V5.3z"),
      path("M5.8 5.8l4.4 4.4M10.2 5.8l-4.4 4.4"),
    ),
  warning: () => icon(path("M8 2 15 14H1z"), path("M8 6.5v3.2M8 11.9v.1")),
  note: () => icon(s("circle", { cx: 8, cy: 8, r: 6.5 }), path("M8 7.4v3.8M8 4.8v.1")),
  exact: () => icon(path("M2.5 8.5 6.2 12.5 13.5 4")),
  bound: () => icon(path("M12.5 2.5 4 6.2l8.5 3.7M4 13.5h8.5")),
};

/** A fresh icon: error, warning, note, exact or bound. It has no name of its own; a word stands beside it. */
export function drawn(name) {
  return DRAWN[name]();
}

/** The mark of the product: a box and what it looks at. */
export function mark() {
  return s(
    "svg",
    { viewBox: "0 0 20 20", "aria-hidden": "true", class: "mark", fill: "none", "stroke-width": 2 },
    s("rect", { x: 2, y: 2, width: 16, height: 16, rx: 1.5, class: "mark-field" }),
    s("rect", { x: 8, y: 8, width: 4, height: 4, class: "mark-unit" }),
  );
}
