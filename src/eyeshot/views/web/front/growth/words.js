// The growth of the field in words: the sentence above the chart, its summary, the layer pointed at, the
// legend.

import { h, s } from "../dom.js";
import { thousands } from "../scales.js";
import { number, size as sizeText } from "../words.js";
import { crossing, envelope } from "./curves.js";

/** A name that is too long, without its middle. */
export function short(name, most = 34) {
  return name.length <= most ? name : `${name.slice(0, most / 2 - 1)}…${name.slice(1 - most / 2)}`;
}

/**
 * The step by which the field passes the input's size, or how large it grows, as children of an element: what
 * the summary of the page does not say. `named(point)` gives a layer's name, a button or a text.
 */
export function sentence(curve, named) {
  const first = crossing(curve);
  const length = thousands(curve.length);
  const out = [];
  if (!first) {
    const local = curve.points.filter((point) => !Number.isNaN(point.size));
    const most = local.reduce((best, point) => (best && best.size >= point.size ? best : point), null);
    if (most) {
      const size = `${most.bound ? "at most " : ""}${thousands(most.size)}`;
      out.push(
        `The field grows to ${size} elements, first at `,
        named(most),
        `, within the input’s ${length}.`,
      );
    } else out.push(`Every layer reads the ${curve.whole}.`);
  } else {
    const before = curve.points.filter((point) => point.number < first.number && Number.isFinite(point.size));
    const most = before.reduce((best, point) => Math.max(best, point.size), 0);
    const from = most ? `from ${thousands(most)} ` : "";
    if (first.size === Infinity) {
      out.push("The field has no end from ", named(first), ` on; the input has ${length} elements.`);
    } else {
      const grows = first.bound ? "may grow" : "grows";
      out.push(
        "At ",
        named(first),
        ` the field ${grows} ${from}to ${thousands(first.size)} elements, past the input’s ${length}.`,
      );
    }
  }
  const whole = curve.points.find((point) => point.global);
  if (whole && (!first || whole.number < first.number)) {
    out.push(` The first to read the ${curve.whole}, as global context: `, named(whole), ".");
  }
  return out;
}

/** The chart as a text, for those who don't see it. */
export function summary(curve) {
  const { points, length } = curve;
  const { known, upper } = envelope(points);
  const first = crossing(curve);
  const text = [
    `Line chart of the field’s size over ${points.length} layers, in the order run.`,
    `The input has ${thousands(length)} elements.`,
  ];
  if (known.length) {
    const some = [0, 0.25, 0.5, 0.75, 1].map((share) => Math.round(share * (known.length - 1)));
    text.push(
      `The largest so far: ${some.map((k) => `${thousands(upper[k])} at ${known[k].name}`).join(", ")}.`,
    );
  }
  if (first) {
    text.push(`The first layer whose field is larger is ${first.name}, with ${thousands(first.size)}.`);
  } else text.push("No layer’s local field is larger than the input.");
  const whole = points.filter((point) => point.global).length;
  if (whole) {
    text.push(`${whole} ${whole === 1 ? "layer reads" : "layers read"} the ${curve.whole} as global context.`);
  }
  const endless = points.filter((point) => point.size === Infinity).length;
  if (endless) text.push(`${endless} ${endless === 1 ? "layer has" : "layers have"} a field without end.`);
  return text.join(" ");
}

const bounded = (field) => `${field.status === "bound" ? "≤ " : ""}${sizeText(field)}`;

/** The numbers of one layer, as children of the line below the chart; `which` is how it comes to be there. */
export function numbers({ name, number: at, field }, count, which) {
  const pair = (text, value) => h("span", { class: "pair" }, `${text} `, h("b", {}, value));
  return [
    h("span", { class: "muted" }, which),
    h("span", { class: "mono ellipsis growth-said", title: name }, name),
    pair("layer", `${at + 1} of ${count}`),
    pair("size", bounded(field)),
    pair("n", number(field.n)),
    pair("jump", number(field.jump)),
  ];
}

/** The same as a text. */
export function told({ name, number: at, field }) {
  return `${name}, layer ${at + 1}: size ${bounded(field)}, n ${number(field.n)}, jump ${number(field.jump)}`;
}

function sign(kind, ...shapes) {
  return s("svg", { class: `growth-sign ${kind}`, width: 26, height: 12, "aria-hidden": "true" }, shapes);
}

/**
 * The entries of the legend. `titles`: of two networks, or null; `branches`: whether a line of each layer is
 * drawn.
 */
export function legend(shown, titles, branches) {
  const stroke = (name) => s("path", { class: name, d: "M1 6H25" });
  const some = (test) => shown.some((curve) => curve.points.some(test));
  const entries = shown.map((_, k) => {
    const text = titles ? `${short(titles[k], 40)}: largest so far` : "largest so far";
    return [sign(k ? "other" : "own", stroke("growth-most")), text];
  });
  if (branches) entries.push([sign("own", stroke("growth-each")), "each layer, where branches differ"]);
  entries.push([sign("growth-input", s("line", { x1: 1, x2: 25, y1: 6, y2: 6 })), "the input’s size"]);
  if (some((point) => point.global)) {
    const diamond = s("path", { class: "growth-global", d: "M13 1l5 5l-5 5l-5 -5Z" });
    entries.push([sign("own", diamond), `reads the ${shown[0].whole} (global)`]);
  }
  if (some((point) => point.size === Infinity)) {
    entries.push([
      sign("own", s("path", { class: "growth-endless", d: "M13 1l5 9h-10Z" })),
      "no end (an RNN’s past)",
    ]);
  }
  if (shown.some(crossing)) {
    entries.push([
      sign("own growth-first", s("circle", { cx: 13, cy: 6, r: 4.5 })),
      "first past the input’s size",
    ]);
  }
  return entries.map(([picture, text]) => h("li", {}, picture, text));
}
