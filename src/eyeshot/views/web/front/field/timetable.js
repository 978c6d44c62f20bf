// The numbers of a unit on a time line, in samples and, where the rate is known, in ms or s.

import { h } from "../dom.js";
import { duration } from "../scales.js";
import { ABSENT, DASH, hull, number } from "../words.js";
import { needs, worst } from "./time.js";

const ROWS = [
  ["box", "Box", "What the unit reads on an unbounded signal, [begin, end): padding included"],
  [
    "inside",
    "Inside",
    "From the first to the last sample of this signal that it reads, global context included",
  ],
  ["size", "Size", "The length of the box"],
  ["centre", "Centre", "The middle of the box"],
  ["jump", "Jump", "From one unit to the next"],
  ["phase", "Phase", "Where fields differ from unit to unit: the unit’s index modulo their period"],
  ["own", "Own samples", "From the unit’s index times the jump to the next unit’s"],
  ["past", "Past", "How far the box begins before the unit’s own samples"],
  ["lookahead", "Lookahead", "How far the box ends after the unit’s own samples; 0 or less is causal"],
  ["latency", "Latency", "From the arrival of the first own sample to that of the last sample that is read"],
];

/** The table; its rows and its size stay as units change. */
export class TimeTable {
  constructor() {
    this.cells = {};
    const rows = ROWS.map(([key, name, title]) => {
      this.cells[key] = [h("td", { "data-key": key }), h("td", { "data-key": `${key}-time` })];
      return h("tr", {}, h("th", { scope: "row", title, text: name }), this.cells[key]);
    });
    this.clock = h("th", { scope: "col", text: "time" });
    this.table = h("table", { class: "time-table numbers small" },
      h(
        "thead", {},
        h("tr", {}, h("td"), h("th", { scope: "col", text: "samples" }), this.clock),
      ), h("tbody", {}, rows));
    this.verdict = h("p", { class: "time-verdict small" });
    this.element = h(
      "div",
      { class: "time-numbers" },
      this.table,
      h(
        "div",
        { class: "time-words" },
        this.verdict,
        h(
          "p",
          { class: "small muted" },
          "A unit’s own samples are those that arrive while it is the newest: from its index times the " +
          "jump to the next unit’s. ",
          "Lookahead is how far its box ends after them; 0 or less is causal. Latency runs from the " +
          "arrival of its first own sample to that of the last sample it reads, without computing time. ",
          "Samples are read by their arithmetic; what an RNN keeps of them is another matter.",
        ),
      ),
    );
  }

  /** Writes the numbers of a unit; `found` is what parts.js says of it. */
  write({ rate }, found, unit) {
    const [field] = found.fields;
    const [box, inside, centre] = [found.box[0], found.inside[0], found.centre[0]];
    const need = field ? needs(field, unit) : null;
    const reads = box && box[0] < box[1];
    const known = { box, inside };
    const values = {
      ...known,
      size: reads ? box[1] - box[0] : null,
      centre, jump: field?.jump ?? null,
      own: need?.own, past: need?.past, lookahead: need?.lookahead, latency: need?.latency,
    };
    for (const [key] of ROWS) {
      const value = values[key];
      const [samples, time] = this.cells[key];
      const absent = field && (key === "centre" ? !field.centred : key in known && !value);
      if (key === "phase") {
        put(samples, phase(field, unit));
        continue;
      }
      put(
        samples,
        Array.isArray(value) ? hull(value) : absent ? ABSENT : number(value),
      );
      put(time, rate ? clock(value, rate) : DASH);
    }
    this.table.classList.toggle("timed", Boolean(rate));
    put(this.verdict, verdict(found, need, rate));
  }
}

function phase(field, unit) {
  const period = field?.canvas?.period ?? 1;
  return period > 1 && field.place >= 0 ? `${unit[field.place] % period} of ${period}` : DASH;
}

function put(cell, text) {
  if (cell.textContent !== text) cell.textContent = text;
}

function clock(value, rate) {
  if (Array.isArray(value)) {
    return value[0] < value[1] ? value.map((end) => duration(end, rate)).join(" … ") : DASH;
  }
  return value === null || value === undefined || Number.isNaN(value) ? DASH : duration(value, rate);
}

function verdict({ fields: [field], global, reach }, need, rate) {
  if (!field) return "This layer reads nothing of this input.";
  if (global) {
    const whole = !reach || reach[0][1] === field.length;
    const what = whole ? "the whole signal" : `the signal up to sample ${number(reach[0][1])}`;
    return `Global: it needs ${what}, so nothing can be given before its end.`;
  }
  if (!field.known) return `What its units read is ${ABSENT}.`;
  if (!need) {
    return "Its units have no rate of their own along this axis; past, lookahead and latency are not defined.";
  }
  const most = worst(field);
  const { lookahead } = need;
  const long = (n) => {
    const time = rate && Number.isFinite(n) ? ` (${duration(n, rate)})` : "";
    return `${number(n)} ${n === 1 ? "sample" : "samples"}${time}`;
  };
  let here = `This unit reads ${long(lookahead)} ahead of its own.`;
  if (lookahead <= 0) here = "Causal: this unit reads nothing after its own samples.";
  if (lookahead === Infinity) here = "It reads on to the signal’s end.";
  if (most === null) return here;
  let others = `Others of the layer read up to ${long(most)} ahead.`;
  if (lookahead === most) others = "None of the layer reads further ahead.";
  if (most > 0) return `${here} ${others}`;
  return "Causal: no unit of this layer reads anything after its own samples.";
}
