// The article's formulas as text: with letters, and with the numbers filled in.

import { h } from "../dom.js";
import { number } from "../words.js";

const letter = (name, index) =>
  h("span", { class: "letter" }, h("i", { text: name }), index && h("sub", { text: index }));
const filled = (value) => h("b", { class: "filled", text: value < 0 ? `(${number(value)})` : number(value) });

/** Per number: its meaning, and how it is made, once with letters and once with numbers. */
const WRITTEN = {
  n: {
    name: "how many units",
    write: ({ n, k, s, p }) => ["⌊(", n, " + 2·", p, " − ", k, ") / ", s, "⌋ + 1"],
  },
  j: { name: "jump", write: ({ j, s }) => [j, " · ", s] },
  r: { name: "receptive field", write: ({ r, k, j }) => [r, " + (", k, " − 1) · ", j] },
  start: {
    name: "first centre",
    write: ({ start, k, p, j }) => [start, " + ((", k, " − 1) / 2 − ", p, ") · ", j],
  },
};

/** One formula, for a map: the letters above, this map's numbers below. */
export function formula(key, map) {
  const { before, layer } = map;
  const letters = {
    n: letter("n", "in"),
    j: letter("j", "in"),
    r: letter("r", "in"),
    start: letter("start", "in"),
    k: letter("k"),
    s: letter("s"),
    p: letter("p"),
  };
  const values = { n: before.n, j: before.j, r: before.r, start: before.start, ...layer };
  const numbers = Object.fromEntries(
    Object.entries(values)
      .filter(([name]) => name in letters)
      .map(([name, value]) => [name, filled(value)]),
  );
  const { name, write } = WRITTEN[key];
  return h(
    "div",
    { class: "formula", "data-formula": key },
    h("p", { class: "formula-name", text: name }),
    h("p", {}, letter(key, "out"), " = ", write(letters)),
    h(
      "p",
      {},
      letter(key, map.name),
      " = ",
      write(numbers),
      " = ",
      h("b", { class: "result", text: number(map[key]) }),
    ),
  );
}

const COLUMNS = { n: "units", j: "jump", r: "field", start: "first centre" };

/** The numbers of the maps known so far: `known` has "layer1.j" and the like; `fresh` those just found. */
export function ledger(maps, known, fresh = new Set()) {
  const keys = Object.keys(COLUMNS);
  const cell = (map, key) => {
    const id = `${map.name}.${key}`;
    const there = map.layer === null || known.has(id);
    return h("td", {
      class: fresh.has(id) ? "fresh" : null,
      "data-value": id,
      text: there ? number(map[key]) : "·",
    });
  };
  return h(
    "table",
    { class: "ledger" },
    h("caption", { class: "unseen", text: "The numbers so far" }),
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("td"),
        keys.map((key) => h("th", { scope: "col" }, h("i", { text: key }), h("small", { text: COLUMNS[key] }))),
      ),
    ),
    h(
      "tbody",
      {},
      maps.map((map) =>
        h(
          "tr",
          {},
          h("th", { scope: "row", text: map.name }),
          keys.map((key) => cell(map, key)),
        ),
      ),
    ),
  );
}
