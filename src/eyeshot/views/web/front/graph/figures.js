// What is written in a node: what it is, how large its map is, and what its units read.

import { findingsOf, worst } from "../findingsof.js";
import { number, perAxis, shape, size } from "../words.js";

/** The fields of a layer to speak of: those on the input that is shown, or else on one that it reads. */
function fieldsOf(layer, source) {
  const own = layer.on(source);
  return own.length ? own : layer.on(layer.fields[0]?.source);
}

/**
 * The texts and numbers of one node: {name, note, n, size, global, part, passes, findings, title}. `part` is
 * the field over the input's size, along the axis where that is most; null where there is no field.
 */
export function figures(page, node, source) {
  if (node.kind === "input") {
    const { shape: sizes } = page.inputs[node.end];
    const title = `${node.label}, input, ${shape(sizes)}`;
    return {
      name: node.label,
      note: /input/i.test(node.label) ? "" : "input",
      n: shape(sizes),
      part: null,
      title,
    };
  }
  const layer = page.layers[node.number];
  if (node.kind === "output") {
    const text = shape(layer.shape);
    return {
      name: node.label,
      note: "",
      n: text,
      part: null,
      title: `${node.label}, from ${layer.name}, ${text}`,
    };
  }
  const fields = fieldsOf(layer, source);
  const found = node.numbers.flatMap((one) => findingsOf(page).get(page.layers[one].name) ?? []);
  const out = {
    name: node.label,
    note: node.note,
    n: fields.length ? `n ${perAxis(fields.map((field) => number(field.n)))}` : "reads no input",
    size: "",
    global: fields.some((field) => field.global),
    part: fields.length ? Math.max(...fields.map((field) => (field.size ?? Infinity) / field.length)) : null,
    passes: fields.some((field) => field.passes),
    findings: new Set(found).size,
    severity: worst(found),
  };
  if (fields.length) {
    const bound = fields.some((field) => field.status === "bound") ? "≤ " : "";
    out.size = bound + perAxis(fields.map(size));
  }
  out.title = said(node, layer, fields, out);
  return out;
}

/** "layer2, sequential, 8 blocks, n 28, field 99 of 224": a node in words. */
function said(node, layer, fields, out) {
  const name = node.kind === "run" ? `${node.label}${node.path && ` of ${node.path}`}` : node.path;
  const parts = [name, node.klass, node.kind === "layer" && layer.path ? `called ${layer.name}` : ""];
  if (node.opens) parts.push(node.klass ? node.count : out.note, `last layer ${layer.name}`);
  parts.push(out.n);
  if (fields.length) {
    parts.push(`field ${out.size} of ${perAxis(fields.map((field) => field.length))}`);
    if (out.passes) parts.push("wider than the input");
  }
  if (out.findings) parts.push(`${out.findings} ${out.findings === 1 ? "finding" : "findings"}`);
  return parts.filter(Boolean).join(", ");
}
