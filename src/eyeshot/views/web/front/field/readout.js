// The numbers of the unit that is shown, as a table and as a sentence.

import { h } from "../dom.js";
import { ABSENT, axisName, DASH, hull, number, shape } from "../words.js";
import { blank, facts, shown } from "./parts.js";

const COLUMNS = [
  ["Axis", "The input's axis"],
  ["Box", "What the unit reads on an unbounded input, [begin, end): padding included"],
  ["Inside", "From the first to the last element of this input that it reads, global context included"],
  ["Size", "The length of the box"],
  ["Centre", "The middle of the box; pixel k covers [k, k + 1]"],
  ["Jump", "From one unit to the next"],
  ["Phase", "Where fields differ from unit to unit: the unit's index modulo their period"],
];

const length = (pair) => (pair ? number(Math.max(0, pair[1] - pair[0])) : DASH);

/** A sentence about the unit that is shown, for screen readers. */
export function spoken(state) {
  const layer = state.page.layers[state.layer];
  const unit = shown(state);
  const found = facts(layer, state.source, unit);
  const to = (pair) => (pair[0] < pair[1] ? `${number(pair[0])} to ${number(pair[1])}` : "nothing");
  const parts = found.fields.map((field, k) => {
    const name = axisName(found.fields.length, k);
    if (!found.box[k]) return `${name} ${ABSENT}`;
    return `${name} ${to(found.box[k])}${found.inside[k] ? ` (${to(found.inside[k])} inside)` : ""}`;
  });
  const name = unit.length ? `Unit ${unit.join(", ")}` : "The one unit";
  const reads = parts.length ? parts.join(", ") : "reads nothing of this input";
  return `${name}: ${reads}${found.global ? `, ${found.context}` : ""}`;
}

/** The table of the unit's numbers; its size does not change from unit to unit. */
export class Readout {
  constructor() {
    this.body = h("tbody", { role: "rowgroup" });
    this.head = h("span", { class: "readout-unit numbers" });
    this.badges = h("span", { class: "readout-badges" });
    const head = COLUMNS.map(([name, title]) =>
      h("th", { scope: "col", role: "columnheader", title, text: name }),
    );
    // With roles of their own: the narrow layout takes them from the elements.
    const table = h(
      "table",
      { class: "readout-table numbers", role: "table", "aria-label": "Numbers of the unit" },
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)),
      this.body,
    );
    this.element = h(
      "div",
      { class: "readout" },
      h("p", { class: "readout-line" }, this.head, this.badges),
      table);
  }

  /** Writes the numbers of the unit that a state shows. */
  write(state) {
    const layer = state.page.layers[state.layer];
    const unit = shown(state);
    const found = facts(layer, state.source, unit);
    const index = unit.length === 1 ? unit[0] : `(${unit.join(", ")})`;
    this.head.textContent = unit.length
      ? `Unit ${index} of ${shape(layer.extent)}`
      : "One unit for all of the input";
    this.#badges(state, found);
    while (this.body.rows.length > found.fields.length) this.body.lastChild.remove();
    while (this.body.rows.length < found.fields.length) {
      const cells = COLUMNS.map(([name], k) =>
        k ? h("td", { "data-name": name, role: "cell" }) : h("th", { scope: "row", role: "rowheader" }));
      this.body.append(h("tr", { role: "row" }, cells));
    }
    found.fields.forEach((field, k) => this.#row(this.body.rows[k], field, k, found, unit));
  }

  #badges(state, { fields, inside, global, context, bound }) {
    const words = [];
    if (state.pinned) words.push(["badge accent", "pinned"]);
    if (global) words.push(["badge global", context]);
    if (bound) words.push(["badge bound", "≤ a bound: reads no more than this"]);
    if (!global && (!fields.length || blank(inside))) words.push(["badge", "reads nothing of this input"]);
    const key = words.join();
    if (this.key === key) return;
    this.key = key;
    this.badges.replaceChildren(...words.map(([kind, text]) => h("span", { class: kind, text })));
  }

  #row(row, field, k, { fields, box, inside, centre }, unit) {
    const period = field.canvas?.period ?? 1;
    const bound = field.status === "bound" ? "≤ " : "";
    const phase = period > 1 && field.place >= 0 ? `${unit[field.place] % period} of ${period}` : DASH;
    const texts = [
      axisName(fields.length, k),
      hull(box[k]),
      hull(inside[k]),
      bound + length(box[k]),
      field.centred ? number(centre[k]) : ABSENT,
      field.jump === null ? DASH : number(field.jump),
      phase,
    ];
    texts.forEach((text, c) => {
      const cell = row.cells[c];
      if (cell.textContent !== text) cell.textContent = text;
    });
  }
}
