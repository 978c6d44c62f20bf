// The parts of a time line that stay as units are visited: rows of units, the signal, and its scales.

import { s } from "../dom.js";
import { round, thousands, ticks } from "../scales.js";

export const CELLS = 20; // the height of a row of units
export const NAME = 20; // of the line with the row's name above it
export const FAN = 34; // between rows
export const INPUT = 28;
export const EDGE = 10; // left and right of the drawing

function inputName(name) {
  const short = name.length > 24 ? `${name.slice(0, 23)}…` : name;
  return name === "input" ? name : `input ${short}`;
}

/** Draws them into `line.base`; `line` is the time line, with its rows and its map from samples to pixels. */
export function drawBase(line, input, rate, centres) {
  line.base.replaceChildren(
    defs(line), ...line.rows.map((row, k) => drawRow(line, row, k)), drawInput(line, input),
    ...drawAxis(line, rate),
  );
  if (centres) line.base.append(drawCentres(line));
}

function defs(line) {
  const lines = s("pattern", {
    id: line.hatch, width: 6, height: 6, patternUnits: "userSpaceOnUse",
    patternTransform: "rotate(45)",
  },
    s("path", { class: "time-hatch", d: "M0 0V6" }));
  return s("defs", {}, lines);
}

function drawRow(line, row, k) {
  const { layer } = row;
  const units = layer.extent.length ? `${thousands(row.n)} units` : "one unit";
  const group = s("g", { class: k ? "time-row" : "time-row chosen", "data-layer": layer.number });
  const [low, high] = row.within(line.view);
  const wide = line.x(row.jump) - line.x(0);
  const [left, right] = [line.near(row.span(0)[0]), line.near(row.span(row.n - 1)[1])];
  group.append(s(
    "rect",
    { class: "time-band", x: left, y: row.y, width: Math.max(1, right - left), height: CELLS },
  ));
  if (wide >= 4 && high - low < 3000) {
    let d = "";
    for (let i = low; i < high; i += 1) {
      const [from, to] = row.span(i).map((time) => line.near(time));
      d += `M${from} ${row.y}H${to}v${CELLS}H${from}Z`;
    }
    group.append(s("path", { class: "time-cells", d }));
  }
  const most = Math.max(8, Math.floor((line.width - 2 * EDGE) / 7.6) - units.length - 4);
  const { name: whole } = layer;
  const name = whole.length > most ? `${whole.slice(0, most / 2)}…${whole.slice(1 - most / 2)}` : whole;
  group.append(s(
    "text", { class: "time-name", x: EDGE, y: row.y - 6 }, s("title", { text: layer.name }),
    s("tspan", { class: "name-of", text: name }), s("tspan", { class: "count-of", dx: 8, text: units }),
  ));
  return group;
}

function drawInput(line, input) {
  const { length } = line.rows[0];
  const y = line.foot;
  const [left, right] = [line.near(0), line.near(length)];
  const group = s("g", { class: "time-input" });
  const outside = [[-20, left], [right, line.width + 20]].filter(
    ([a, b]) => b - a > 1 && b > 0 && a < line.width
  );
  for (const [from, to] of outside) {
    group.append(s(
      "rect",
      {
        class: "time-padding", x: from, y, width: to - from, height: INPUT,
        fill: `url(#${line.hatch})`,
      },
    ));
  }
  group.append(s(
    "rect",
    {
      class: "time-signal", "data-length": length, x: left, y, width: Math.max(1, right - left), height: INPUT,
    },
  ));
  const per = line.x(1) - line.x(0);
  if (per >= 5) {
    let d = "";
    const [from, to] = [Math.max(1, Math.ceil(line.view[0])), Math.min(length, line.view[1])];
    for (let i = from; i < to; i += 1) d += `M${round(line.x(i))} ${y}v${INPUT}`;
    group.append(s("path", { class: "time-samples", d }));
  }
  group.append(s("text", { class: "time-name", x: EDGE, y: y - 9 },
    s("tspan", { class: "name-of", text: inputName(input.name) }), s(
      "tspan",
      { class: "count-of", dx: 8, text: `${thousands(length)} samples; hatched: padding` },
    )));
  return group;
}

/** Samples below the input, and below these ms or s where the rate is known. */
function drawAxis(line, rate) {
  const y = line.foot + INPUT + 22;
  const room = Math.max(2, Math.floor(line.width / 90));
  const one = (values, place, text, top, kind) => {
    const group = s(
      "g", { class: `time-axis ${kind}` }, s("path", { d: `M${EDGE} ${top}H${line.width - EDGE}` }),
    );
    for (const value of values) {
      const x = round(line.x(place(value)));
      const anchor = x < 30 ? "start" : x > line.width - 30 ? "end" : "middle";
      group.append(
        s("path", { d: `M${x} ${top}v4` }),
        s("text", { x, y: top + 16, "text-anchor": anchor, text: text(value) }),
      );
    }
    return group;
  };
  const [from, to] = [line.view[0], line.view[1]];
  const out = [one(ticks(from, to, room, true), (v) => v, thousands, y, "samples")];
  if (rate) {
    const seconds = (to - from) / rate >= 2;
    const unit = seconds ? rate : rate / 1000;
    out.push(one(
      ticks(from / unit, to / unit, room), (v) => v * unit, (v) => `${thousands(v)} ${seconds ? "s" : "ms"}`,
      y + 24, "clock",
    ));
  }
  return out;
}

function drawCentres(line) {
  const [row] = line.rows;
  const [low, high] = row.within(line.view);
  const every = Math.max(1, Math.ceil((high - low) / Math.max(50, line.width / 4)));
  let d = "";
  for (let i = low; i < high; i += every) {
    const middle = row.middle(i);
    const seen = middle >= line.view[0] && middle <= line.view[1];
    if (seen) d += `M${round(line.x(middle))} ${line.foot + INPUT / 2}h0`;
  }
  return s("path", { class: "time-centres", d });
}
