// The table as text: the cells that the command line prints, and the library's CSV and Markdown to the letter.

import { DASH } from "../words.js";

export const HEADINGS = ["layer", "op", "n", "size", "jump", "start", "padding"];
const COLUMNS = [
  "layer",
  "op",
  "shape",
  "input",
  "axis",
  "dim",
  "n",
  "size",
  "jump",
  "start",
  "padding",
  "global",
  "status",
];
/** How many layers a remark names. */
const MAX_NAMED = 4;

/** The fraction [above, below] that a float of at least 0 stands for: the simplest one that rounds to it. */
export function fraction(value) {
  let [before, found] = [[1, 0], [Math.floor(value), 1]];
  let rest = value - found[0];
  // Continued fractions: each is the best approach with numbers of its size.
  while (found[0] / found[1] !== value && rest > 0) {
    const whole = Math.floor(1 / rest);
    rest = 1 / rest - whole;
    [before, found] = [found, [whole * found[0] + before[0], whole * found[1] + before[1]]];
    if (found[1] > 2 ** 26) return [value, 1];
  }
  return found;
}

/** 4, 0.5, 1/3: a number as the library writes it. */
export function exact(value) {
  if (value === null || value === undefined) return DASH;
  if (!Number.isFinite(value)) return "∞";
  const [above, below] = fraction(Math.abs(value));
  const sign = value < 0 ? "-" : "";
  if (below === 1) return `${sign}${above}`;
  if (1000 % below) return `${sign}${above}/${below}`;
  const thousandths = String(Math.round(((above % below) / below) * 1000)).padStart(3, "0");
  return `${sign}${Math.floor(above / below)}.${thousandths.replace(/0+$/, "")}`;
}

/** Per-axis texts, 7×5 only where they differ; inputs are separated by a comma. */
function cell(fields, text) {
  const groups = new Map();
  for (const field of fields) {
    if (!groups.has(field.input)) groups.set(field.input, []);
    groups.get(field.input).push(text(field));
  }
  const texts = [...groups.values()].map((values) =>
    new Set(values).size === 1 ? values[0] : values.join("×"),
  );
  return new Set(texts).size === 1 ? texts[0] : texts.join(", ");
}

/** A size without a number in the page has no end. */
const local = (field) => exact(field.size ?? Infinity);

function sizeText(field) {
  if (!field.global) return local(field);
  return field.jump === null && field.dim === null ? "global" : `${local(field)} + global`;
}

/** The same for padding: none without a canvas, without end where the first unit's box has none. */
export function padding(field) {
  return field.padding ?? (field.canvas && field.canvas.begin[0] === null ? Infinity : null);
}

/** The texts under HEADINGS. */
export function cells(layer) {
  const { fields } = layer;
  const size = cell(fields, sizeText);
  return [
    layer.name,
    layer.op,
    fields.length ? cell(fields, (field) => String(field.n)) : DASH,
    layer.bound ? `≤ ${size}` : size,
    cell(fields, (field) => exact(field.jump)),
    cell(fields, (field) => exact(field.start)),
    cell(fields, (field) => exact(padding(field))),
  ];
}

/** A float as Python writes it. */
function float(value) {
  if (value === null || value === undefined) return "";
  const size = Math.abs(value);
  if (value !== 0 && (size < 1e-4 || size >= 1e16)) {
    const [digits, power] = value.toExponential().split("e");
    return `${digits}e${power[0]}${power.slice(1).padStart(2, "0")}`;
  }
  return Number.isInteger(value) ? value.toFixed(1) : String(value);
}

function quoted(value) {
  const text = value === null || value === undefined ? "" : String(value);
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** CSV, one row per layer and axis, as `report.to_csv()`. */
export function csv(layers) {
  const lines = [COLUMNS.join(",")];
  for (const layer of layers) {
    const shape = layer.shape.join("x");
    for (const f of layer.fields) {
      const numbers = [f.n, f.size, float(f.jump), float(f.start), f.padding, f.global, f.status];
      lines.push([layer.name, layer.op, shape, f.input, f.axis, f.dim, ...numbers].map(quoted).join(","));
    }
  }
  return `${lines.join("\n")}\n`;
}

// What Python takes for white space, and for characters that can't be printed.
const SPACE = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/g;
const UNPRINTABLE = /(?! )[\p{C}\p{Z}]/gu;

/** Text that is nothing but text in Markdown. */
function plain(text) {
  return text
    .replace(SPACE, " ")
    .replace(/^ | $/g, "")
    .replace(UNPRINTABLE, "\ufffd")
    .replace(/[\\`*_{}[\]<>#|]/g, "\\$&");
}

/** The network, its inputs and its status in one line. */
export function header(page) {
  const inputs = page.inputs.map(({ name, shape }) => `${name} ${shape.join("x")}`).join(", ");
  return [page.title, inputs, page.status].filter(Boolean).join(" · ");
}

/** What the marks mean, and the diagnostics: layers that share one share a line. */
export function notes(page, layers) {
  const out = [];
  if (layers.some((layer) => layer.global)) {
    out.push("global: the units also read the whole input axis (pooling, attention, norms)");
  }
  if (layers.some((layer) => layer.bound)) out.push("≤: an upper bound");
  const places = new Map();
  for (const { message, code, layer } of page.diagnostics) {
    const key = JSON.stringify([message, code]);
    if (!places.has(key)) places.set(key, { message, code, names: [] });
    const { names } = places.get(key);
    if (layer && !names.includes(layer)) names.push(layer);
  }
  for (const { message, code, names } of places.values()) {
    const rest = names.length - MAX_NAMED + 1;
    const shown = names.length > MAX_NAMED ? [...names.slice(0, MAX_NAMED - 1), `${rest} more layers`] : names;
    out.push(`${shown.length ? `${shown.join(", ")}: ` : ""}${message} [${code}]`);
  }
  return out;
}

/** Markdown, as `report.to_markdown()`. */
export function markdown(page, layers) {
  const lines = [
    `**${plain(header(page))}**`,
    "",
    `| ${HEADINGS.join(" | ")} |`,
    `|---|---|${"---:|".repeat(HEADINGS.length - 2)}`,
  ];
  for (const layer of layers) lines.push(`| ${cells(layer).map(plain).join(" | ")} |`);
  const remarks = notes(page, layers);
  if (remarks.length) lines.push("", ...remarks.map((remark) => `- ${plain(remark)}`));
  return `${lines.join("\n")}\n`;
}
