// The picture: frames of opened modules, lines, and nodes, as SVG elements.

import { s } from "../dom.js";
import { HEAD } from "./layout.js";

export const HEIGHT = 50;
const SIDE = 10;
const WIDTHS = [112, 212];
/** Numbers of three axes are longer than a name may be, and none is cut off. */
const NUMBERED = 290;
/** The note beside a name may make a node so much wider. */
const NOTED = 84;
/** Beside a short name it may be longer: up to this width together. */
const CALM = 140;
/** What is to be hit to open or close; at the smallest initial scale still 24 pixels. */
const HIT = 30;

const MOST_KNOWN = 4000;

/** Measures and trims texts in the fonts of the picture. */
export class Letters {
  constructor(element) {
    this.context = document.createElement("canvas").getContext("2d");
    this.family = getComputedStyle(element).fontFamily || "sans-serif";
    this.known = new Map();
  }

  width(text, font) {
    const key = `${font} ${text}`;
    if (!this.known.has(key)) {
      if (this.known.size > MOST_KNOWN) this.known.clear();
      this.context.font = `${font} ${this.family}`;
      this.known.set(key, this.context.measureText(text).width);
    }
    return this.known.get(key);
  }

  /** The text as long as it fits, else its beginning, and its end where that matters. */
  fitted(text, font, room, ended = true) {
    if (text.length < 400 && this.width(text, font) <= room) return text;
    const letters = [...text];
    let low = 0;
    let high = Math.min(letters.length, 200);
    const cut = (n) => {
      const tail = ended ? Math.floor(n / 2) : 0;
      return `${letters.slice(0, n - tail).join("")}…${tail ? letters.slice(-tail).join("") : ""}`;
    };
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.width(cut(middle), font) <= room) low = middle;
      else high = middle - 1;
    }
    return cut(low);
  }
}

export const NAME = "600 12.5px";
const SMALL = "11.5px";

/** The width that a node would like: its name and note above, its numbers below. */
export function wanted(letters, figures, opens, frame) {
  const short = (text) => text.slice(0, 60);
  const name = letters.width(short(figures.name), NAME);
  const spare = frame ? 160 : Math.max(NOTED, CALM - name);
  const above = name + (figures.note ? 8 + Math.min(spare, letters.width(short(figures.note), SMALL)) : 0);
  const below = letters.width(numbers(figures), SMALL) + (figures.findings ? 30 : 0);
  const button = opens ? HIT - 6 : 0;
  const named = Math.min(WIDTHS[1] + (frame ? 40 : 0), Math.ceil(above + button) + 2 * SIDE);
  const numbered = frame ? 0 : Math.min(NUMBERED, Math.ceil(below) + 2 * SIDE);
  return Math.max(WIDTHS[0], named, numbered);
}

function numbers(figures) {
  return figures.size ? `${figures.n}  ·  size ${figures.size}` : figures.n;
}

/** A line's path: smooth, leaving and arriving upright; an arc is one curve already. */
function lined({ points, arc }) {
  const at = ([x, y]) => `${Math.round(x * 10) / 10} ${Math.round(y * 10) / 10}`;
  if (arc) return `M${at(points[0])}C${points.slice(1).map(at).join(",")}`;
  let path = `M${at(points[0])}`;
  for (let k = 1; k < points.length; k += 1) {
    const [a, b] = [points[k - 1], points[k]];
    const middle = (a[1] + b[1]) / 2;
    path += Math.abs(a[0] - b[0]) < 0.1 ? `L${at(b)}` : `C${at([a[0], middle])},${at([b[0], middle])},${at(b)}`;
  }
  return path;
}

function arrow({ points, arc }) {
  const [x, y] = points.at(-1);
  if (!arc) return `M${x - 3.5} ${y - 6}L${x} ${y}L${x + 3.5} ${y - 6}Z`;
  const side = points.at(-2)[0] > x ? 6 : -6;
  return `M${x + side} ${y - 3.5}L${x} ${y}L${x + side} ${y + 3.5}Z`;
}

/** One line with its arrow; where it runs on through a frame's edge it has none. */
export function drawLine(line) {
  const of = (end) => `${end.node.id}${end.port ? ` ${end.port}` : ""}`;
  return s(
    "g",
    {
      class: `graph-line${line.arc ? ` graph-${line.arc}` : ""}`,
      "data-from": of(line.from),
      "data-to": of(line.to),
    },
    s("path", { class: "graph-stroke", d: lined(line) }),
    line.to.border ? null : s("path", { class: "graph-arrow", d: arrow(line) }),
  );
}

function texts(letters, figures, width, opens) {
  const room = width - 2 * SIDE - (opens ? HIT - 6 : 0);
  const name = letters.fitted(figures.name, NAME, room);
  const left = room - letters.width(name, NAME) - 8;
  return {
    name,
    note: figures.note && left > 36 ? letters.fitted(figures.note, SMALL, left + 0.5, false) : "",
  };
}

function noted(note) {
  return note ? s("tspan", { class: "graph-note", dx: 8, text: note }) : null;
}

function opener(x, y, opened) {
  const arm = 4;
  return s(
    "g",
    { class: "graph-opener", "data-opener": true, "aria-hidden": "true", transform: `translate(${x} ${y})` },
    s("rect", { class: "graph-hit", x: -HIT / 2, y: -HIT / 2, width: HIT, height: HIT, rx: 5 }),
    s("circle", { r: 8 }),
    s("path", { d: `M${-arm} 0H${arm}${opened ? "" : `M0 ${-arm}V${arm}`}` }),
  );
}

/** A node that is closed, or a layer: two lines of text and the bar of its field against the input. */
export function drawNode(letters, node, figures, box) {
  const { x, y, width, height } = box;
  const { name, note } = texts(letters, figures, width, node.opens);
  const bar = width - 2 * SIDE;
  const [size, beside] = figures.size ? figures.size.split(/ (?=\+ global$)/) : [""];
  const plain = figures.size && beside === undefined && /^\D*global/.test(figures.size);
  const kind = `graph-${node.kind}${node.opens ? " graph-closed" : ""}`;
  const g = s("g", { class: `graph-node ${kind}`, "data-id": node.id, transform: `translate(${x} ${y})` });
  g.append(s("title", { text: figures.title }));
  if (node.opens) g.append(s("rect", { class: "graph-under", x: 4, y: 4, width, height, rx: 6 }));
  g.append(
    s("rect", { class: "graph-box", width, height, rx: node.kind === "layer" || node.opens ? 6 : 20 }),
    s("text", { x: SIDE, y: 19, class: "graph-name" }, name, noted(note)),
    s(
      "text",
      { x: SIDE, y: 36, class: "graph-numbers" },
      s("tspan", { class: "graph-n", text: letters.fitted(figures.n, SMALL, bar) }),
      figures.size
        ? s("tspan", { class: plain ? "graph-global" : "graph-size", dx: 6, text: `· size ${size}` })
        : null,
      beside ? s("tspan", { class: "graph-global", dx: 4, text: beside }) : null,
    ),
  );
  if (figures.part !== null) {
    g.append(s("rect", { class: "graph-track", x: SIDE, y: height - 8, width: bar, height: 4, rx: 2 }));
    const part = Math.max(2, Math.min(1, figures.part) * bar);
    g.append(s("rect", { class: "graph-part", x: SIDE, y: height - 8, width: part, height: 4, rx: 2 }));
    // Past the input's size: the bar goes on over its end.
    if (figures.passes) {
      g.append(s("path", { class: "graph-past", d: `M${SIDE + bar - 3} ${height - 11}l7 5l-7 5Z` }));
    }
  }
  if (figures.findings) {
    const mark = figures.severity === "error" ? "✕" : figures.severity === "warning" ? "!" : "i";
    g.append(
      s(
        "g",
        {
          class: `graph-badge graph-${figures.severity}`,
          "aria-hidden": "true",
          transform: `translate(${width - 14} 32)`,
        },
        s("circle", { r: 7.5 }),
        s("text", { y: 4, "text-anchor": "middle", text: mark }),
      ),
    );
  }
  if (node.opens) g.append(opener(width - 16, 15, false));
  return g;
}

/** The frame of an opened module with its head; what is inside is drawn after it. */
export function drawFrame(box) {
  const { x, y, width, height } = box;
  return s("rect", { class: "graph-frame", x, y, width, height, rx: 8 });
}

/** The head of an opened module: what closes it and its name, which stay in sight where the module is wide. */
export function drawHead(letters, node, figures, box) {
  const { x, y, width } = box;
  const { name, note } = texts(letters, figures, Math.min(width, WIDTHS[1] + 40), true);
  return s(
    "g",
    {
      class: `graph-node graph-head graph-${node.kind}`,
      "data-id": node.id,
      transform: `translate(${x} ${y})`,
    },
    s("title", { text: figures.title }),
    s("rect", { class: "graph-box", width, height: HEAD, rx: 8 }),
    s(
      "g",
      { class: "graph-stays" },
      opener(16, HEAD / 2, true),
      s("text", { x: SIDE + HIT - 8, y: 20, class: "graph-name" }, name, noted(note)),
    ),
  );
}
