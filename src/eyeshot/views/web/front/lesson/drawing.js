// The lesson's drawings: an input or a map as a grid with padding around it, and maps of buttons, one a unit.

import { h, s } from "../dom.js";
import { number } from "../words.js";

/** Size of a cell in a drawing's own units. */
const CELL = 40;

/** M…Z of a rectangle of cells, rows [a, b) and columns [c, d). */
const outline = ([a, b], [c, d]) => `M${c * CELL} ${a * CELL}H${d * CELL}V${b * CELL}H${c * CELL}Z`;

/** The lines between cells. */
function lines([a, b], [c, d]) {
  let path = "";
  for (let y = a; y <= b; y += 1) path += `M${c * CELL} ${y * CELL}H${d * CELL}`;
  for (let x = c; x <= d; x += 1) path += `M${x * CELL} ${a * CELL}V${b * CELL}`;
  return path;
}

const empty = ([low, high]) => low >= high;

/**
 * A square grid of n × n cells, drawn from `low` to `high` along both axes; the cells outside 0 … n are
 * padding.
 *
 * `read`: [rows, columns] that are read, filled; `box`: [rows, columns], outlined; `way`: [{hulls, there}],
 * boxes of units on the way, dashed where such a unit is padding; `units`: [{at: [y, x], side, chosen}],
 * squares at the centres of units; `measures`: [{from, to, at, text, kind}], a length along a row at height
 * `at`; `label`: the drawing in words.
 */
export function plane({ n, low, high, read, box, way = [], units = [], measures = [], label, ticks = true }) {
  const whole = [low, high];
  const image = [0, n];
  const span = (high - low) * CELL;
  const text = span / 26;
  const margin = ticks ? text * 1.7 : 4;
  const drawn = [
    s("path", { class: "padding", d: lines(whole, whole) }),
    s("path", { class: "image", d: outline(image, image) }),
  ];
  if (read && !read.some(empty)) drawn.push(s("path", { class: "read", d: outline(...read) }));
  drawn.push(s("path", { class: "cells", d: lines(image, image) }));
  for (const { hulls, there } of way) {
    drawn.push(s("path", { class: there ? "way" : "way missing", d: outline(...hulls) }));
  }
  drawn.push(s("path", { class: "frame", d: outline(image, image) }));
  if (box && !box.some(empty)) drawn.push(s("path", { class: "box", d: outline(...box) }));
  for (const { at: [y, x], side, chosen } of units) {
    const half = (side * CELL) / 2;
    if (side > 0) {
      drawn.push(
        s("rect", {
          class: chosen ? "unit chosen" : "unit",
          x: x * CELL - half,
          y: y * CELL - half,
          width: 2 * half,
          height: 2 * half,
          rx: 3,
        }),
      );
    }
    drawn.push(
      s("circle", {
        class: chosen ? "centre chosen" : "centre",
        cx: x * CELL,
        cy: y * CELL,
        r: (chosen ? 0.34 : 0.24) * text,
      }),
    );
  }
  for (const one of measures) drawn.push(...measure(one, text));
  if (ticks) {
    const every = Math.max(1, Math.ceil((high - low) / 14));
    for (let k = Math.ceil(low / every) * every; k <= high; k += every) {
      const kind = k >= 0 && k <= n ? "tick" : "tick out";
      drawn.push(
        s("text", {
          class: kind,
          x: k * CELL,
          y: low * CELL - text * 0.55,
          "font-size": text * 0.88,
          "text-anchor": "middle",
          text: number(k),
        }),
      );
      drawn.push(
        s("text", {
          class: kind,
          x: low * CELL - text * 0.5,
          y: k * CELL + text * 0.28,
          "font-size": text * 0.88,
          "text-anchor": "end",
          text: number(k),
        }),
      );
    }
  }
  const from = low * CELL - margin;
  const size = span + margin + text * 0.9;
  return s(
    "svg",
    { class: "lesson-plane", viewBox: `${from} ${from} ${size} ${size}`, role: "img", "aria-label": label },
    drawn,
  );
}

/** A length between two ends, with what it is. */
function measure({ from, to, at, text, kind = "" }, size) {
  const [a, b, y] = [from * CELL, to * CELL, at * CELL];
  const tip = size * 0.45;
  const ends = `M${a} ${y - tip}V${y + tip}M${b} ${y - tip}V${y + tip}M${a} ${y}H${b}`;
  return [
    s("path", { class: `measure ${kind}`, d: ends }),
    s("text", {
      class: `measure-text ${kind}`,
      x: (a + b) / 2,
      y: y - size * 0.6,
      "font-size": size * 1.15,
      "text-anchor": "middle",
      text,
    }),
  ];
}

/**
 * A map as n × n buttons; `choose([y, x])` is called by pointing, touch and arrow keys.
 *
 * Returns {element, show({chosen, done, read})}: the unit chosen, those made so far, and [rows, columns] that
 * are read.
 */
export function buttons({ name, n, choose }) {
  const units = [];
  for (let y = 0; y < n; y += 1) {
    for (let x = 0; x < n; x += 1) {
      const pick = () => choose([y, x]);
      units.push(
        h("button", {
          type: "button",
          class: "unit",
          tabindex: "-1",
          "aria-label": `${name}, unit (${y}, ${x})`,
          "aria-pressed": "false",
          onclick: pick,
          onpointerenter: (event) => event.pointerType === "mouse" && pick(),
        }),
      );
    }
  }
  const grid = h(
    "div",
    { class: "map", role: "group", "aria-label": `${name}: ${n} × ${n} units`, onkeydown: keys },
    units,
  );
  grid.style.setProperty("--n", n);
  if (units.length) units[0].tabIndex = 0;

  function keys(event) {
    const at = units.indexOf(event.target);
    if (at < 0) return;
    const [y, x] = [Math.floor(at / n), at % n];
    const to = {
      ArrowUp: [y - 1, x],
      ArrowDown: [y + 1, x],
      ArrowLeft: [y, x - 1],
      ArrowRight: [y, x + 1],
      Home: [0, 0],
      End: [n - 1, n - 1],
    }[event.key];
    if (!to) return;
    event.preventDefault();
    event.stopPropagation();
    if (to.some((i) => i < 0 || i >= n)) return;
    choose(to);
    units[to[0] * n + to[1]].focus();
  }

  function show({ chosen = null, done = n * n, read = null }) {
    units.forEach((unit, at) => {
      const [y, x] = [Math.floor(at / n), at % n];
      const here = chosen !== null && chosen[0] === y && chosen[1] === x;
      unit.setAttribute("aria-pressed", here);
      unit.classList.toggle("made", at < done);
      unit.classList.toggle(
        "read",
        read !== null && y >= read[0][0] && y < read[0][1] && x >= read[1][0] && x < read[1][1],
      );
      if (chosen) unit.tabIndex = here ? 0 : -1;
    });
  }
  show({});
  return { element: grid, show };
}

/** A drawing with its caption. */
export function figure(caption, ...content) {
  return h("figure", {}, h("figcaption", { text: caption }), content);
}
