// Which rows a table shows, and in which order.

import { padding } from "./texts.js";

/** A shell's glob (*, ?, [a-z], [!a-z]) as a test of a whole name. */
function glob(pattern) {
  let out = "";
  for (let i = 0; i < pattern.length; i += 1) {
    const c = pattern[i];
    if (c === "*") out += ".*";
    else if (c === "?") out += ".";
    else if (c === "[") {
      // A bracket right after the first one (or after !) stands for itself.
      const end = pattern.indexOf("]", i + (pattern[i + 1] === "!" ? 3 : 2));
      if (end < 0) out += "\\[";
      else {
        const inner = pattern.slice(i + 1, end);
        const set = inner.replace(/^!/, "").replace(/[\\\]^[&~|]/g, "\\$&");
        out += `[${inner.startsWith("!") ? "^" : ""}${set}]`;
        i = end;
      }
    } else out += c.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
  }
  let test;
  try {
    test = new RegExp(`^(?:${out})$`, "s");
  } catch {
    // A range that runs backwards matches nothing.
    return () => false;
  }
  return (text) => test.test(text);
}

/** A test of layers by name or operator: a part of it in any case, or a glob where the text has * ? or [. */
export function search(text) {
  const asked = text.trim();
  if (!asked) return () => true;
  if (/[*?[]/.test(asked)) {
    const whole = glob(asked);
    return (layer) => whole(layer.name) || whole(layer.op);
  }
  const part = asked.toLowerCase();
  return (layer) => layer.name.toLowerCase().includes(part) || layer.op.toLowerCase().includes(part);
}

/** Compares names so that conv2 stands before conv10. */
function byName(a, b) {
  const [one, other] = [a.split(/([0-9]+)/), b.split(/([0-9]+)/)];
  for (let k = 0; k < Math.min(one.length, other.length); k += 1) {
    let [x, y] = [one[k], other[k]];
    if (x === y) continue;
    if (k % 2) {
      [x, y] = [x.replace(/^0+/, ""), y.replace(/^0+/, "")];
      if (x.length !== y.length) return x.length - y.length;
    }
    if (x !== y) return x < y ? -1 : 1;
  }
  return one.length - other.length;
}

/** The greatest of a layer's fields; null where none has the number. */
function greatest(layer, value) {
  const values = layer.fields.map(value).filter((one) => one !== null);
  return values.length ? Math.max(...values) : null;
}

const NUMBERS = {
  n: (field) => field.n,
  size: (field) => field.size ?? Infinity,
  jump: (field) => field.jump,
  start: (field) => field.start,
  padding,
};

/**
 * The layers by a column: "ascending", "descending", or "none" for the order in which they run.
 *
 * Numbers are compared by their greatest axis; layers that have none come last either way. Equal ones keep the
 * order in which they run.
 */
export function sorted(layers, column, direction) {
  if (direction === "none") return [...layers];
  const turn = direction === "descending" ? -1 : 1;
  if (column === "layer") return [...layers].sort((a, b) => turn * byName(a.name, b.name));
  if (column === "op") return [...layers].sort((a, b) => turn * (a.op < b.op ? -1 : a.op > b.op ? 1 : 0));
  const keys = new Map(layers.map((layer) => [layer, greatest(layer, NUMBERS[column])]));
  return [...layers].sort((a, b) => {
    const [x, y] = [keys.get(a), keys.get(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    // Two that are infinite have no difference.
    return x === y ? 0 : turn * (x < y ? -1 : 1);
  });
}
