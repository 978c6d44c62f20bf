// Changes of a spec's text in place: everything that is not changed, comments too, stays as it was written.
//
// An outline (from the server) says where layers and their values stand.
// Nothing in this file knows of the document.

/** Where the name of a parameter begins, whose value begins at `at`. */
function keyStart(text, name, at) {
  const plain = name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const found = new RegExp(`(["']?)${plain}\\1\\s*:\\s*(?:[&!]\\S+\\s+)*$`).exec(text.slice(0, at));
  return found ? found.index : at;
}

/**
 * The server's outline in the form that is used here: per layer `at` (its value), `key` (its name) and
 * `keys` {value, at, key}; `list` and `flow` say how the layers are written. Null where the text has no places.
 */
export function localised({ layers, layers_at: all, ...top }, text) {
  if (!all || layers.some((layer) => !layer.value_at)) return null;
  const own = (layer) => {
    const known = Object.entries(layer.keys).filter(([, found]) => found.at);
    const keys = known.map(([name, { value, at }]) => [
      name,
      { value, at, key: [keyStart(text, name, at[0]), at[0]] },
    ]);
    return {
      name: layer.name,
      op: layer.op ?? "",
      at: layer.value_at,
      key: layer.name_at,
      keys: Object.fromEntries(keys),
    };
  };
  const first = text[all[0]];
  return {
    ...top,
    layers: layers.map(own),
    list: first === "-" || first === "[",
    flow: first === "{" || first === "[",
  };
}

/** `text` with [start, end) replaced. */
const replaced = (text, [start, end], by) => text.slice(0, start) + by + text.slice(end);

const PLAIN = /^[A-Za-z_][\w./-]*$/;
const WORDS = /^(?:true|false|yes|no|on|off|null|y|n|~)$/i;

/** A text as a YAML scalar that can stand anywhere; quoted where it has to be, and always in JSON. */
function scalar(text, format) {
  if (format !== "json" && PLAIN.test(text) && !WORDS.test(text)) return text;
  return JSON.stringify(text);
}

/** What a user typed in a field, as it goes into the text: numbers and lists as they are, words as scalars. */
function written(typed, format) {
  const text = typed.trim();
  if (/^[-+]?\d+(\.\d+)?([eE][-+]?\d+)?$/.test(text)) return text.replace(/^\+/, "");
  if (/^(true|false)$/i.test(text)) return text.toLowerCase();
  if (/^[[{]/.test(text)) return text;
  const parts = text.split(",").map((part) => part.trim()).filter(Boolean);
  if (parts.length > 1) return `[${parts.map((part) => written(part, format)).join(", ")}]`;
  return scalar(text, format);
}

/** A value as text for a field: 3, 3, 5, same. */
export function shown(value) {
  if (value === null || value === undefined) return "";
  if (Array.isArray(value)) return value.some(Array.isArray) ? JSON.stringify(value) : value.join(", ");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** Where the line of an offset begins. */
const lineStart = (text, at) => text.lastIndexOf("\n", at - 1) + 1;

/** Where the line of an offset ends, its newline not counted. */
function lineEnd(text, at) {
  const end = text.indexOf("\n", at);
  return end < 0 ? text.length : end;
}

/** How a layer's value is written: "flow" {…}, "short" […], "block", or "word". */
export function style(text, layer) {
  const first = text[layer.at[0]];
  if (first === "{") return "flow";
  if (first === "[") return "short";
  return Object.keys(layer.keys).length || layer.block ? "block" : "word";
}

/** The text with one value of one layer changed, added, or (with an empty text) taken out. */
export function setKey(text, layer, name, typed, format) {
  const value = typed.trim() === "" ? null : written(typed, format);
  const found = layer.keys[name];
  const kind = style(text, layer);
  if (kind === "short") return setShort(text, layer, name, value, format);
  if (kind === "word") {
    if (value === null) return text;
    if (name === "op") return replaced(text, layer.at, value);
    return replaced(text, layer.at, flow({ op: scalar(layer.op, format), [name]: value }, format));
  }
  if (found) return value === null ? without(text, layer, name) : replaced(text, found.at, value);
  if (value === null) return text;
  const last = Object.values(layer.keys).reduce((most, key) => Math.max(most, key.at[1]), -1);
  const key = format === "json" ? JSON.stringify(name) : name;
  if (kind === "flow") {
    if (last < 0) return replaced(text, [layer.at[0] + 1, layer.at[0] + 1], `${key}: ${value}`);
    return replaced(text, [last, last], `, ${key}: ${value}`);
  }
  const indent = text.slice(lineStart(text, layer.at[0]), layer.at[0]).replace(/[^ ]/g, " ");
  const end = lineEnd(text, Math.max(last, layer.at[0]));
  return replaced(text, [end, end], `\n${indent}${key}: ${value}`);
}

const SHORT = ["kernel", "stride", "padding"];

/** [kernel, stride, padding] stays short while it can; else it is written out as the window it is. */
function setShort(text, layer, name, value, format) {
  const values = { kernel: "1", stride: "1", padding: "0" };
  for (const key of SHORT) {
    if (layer.keys[key]) values[key] = text.slice(...layer.keys[key].at);
  }
  const plain = value !== null && /^\d+$/.test(value);
  if (SHORT.includes(name) && layer.keys[name] && value !== null && plain) {
    return replaced(text, layer.keys[name].at, value);
  }
  if (name !== "op" && value === null) return text;
  return replaced(text, layer.at, flow({ op: "conv", ...values, [name]: value }, format));
}

function flow(values, format) {
  const entries = Object.entries(values).filter(([, value]) => value !== null);
  const key = (name) => (format === "json" ? JSON.stringify(name) : name);
  const word = (value) =>
    format === "json" && /^[A-Za-z_]/.test(value) && !WORDS.test(value) ? `"${value}"` : value;
  return `{${entries.map(([name, value]) => `${key(name)}: ${word(value)}`).join(", ")}}`;
}

function without(text, layer, name) {
  const { key, at } = layer.keys[name];
  const others = Object.values(layer.keys).map((found) => found.key[0]).sort((a, b) => a - b);
  const place = others.indexOf(key[0]);
  if (style(text, layer) === "block") {
    if (others.length === 1) return text;
    const start = lineStart(text, key[0]);
    // The first key of `- name: …` shares its line with the dash.
    if (text.slice(start, key[0]).trim()) return replaced(text, [key[0], others[place + 1] ?? at[1]], "");
    return replaced(text, [start, Math.min(text.length, lineEnd(text, at[1]) + 1)], "");
  }
  if (place + 1 < others.length) return replaced(text, [key[0], others[place + 1]], "");
  const before = text.lastIndexOf(",", key[0]);
  return replaced(text, [place > 0 && before >= layer.at[0] ? before : key[0], at[1]], "");
}

// --- whole layers

/** Where a layer's whole entry stands, its name (or dash) included. */
function entry(text, outline, k) {
  const layer = outline.layers[k];
  return [
    layer.key ? Math.min(layer.key[0], layer.at[0]) : layer.at[0],
    Math.max(layer.at[1], layer.key?.[1] ?? 0),
  ];
}

/** Whether layers stand in lines of their own (block style) and not within { } or [ ]. */
function inLines(text, outline) {
  return outline.layers.every((_, k) => {
    const [start] = entry(text, outline, k);
    return /^[ ]*(?:-[ ]+)?$/.test(text.slice(lineStart(text, start), start));
  }) && !outline.flow;
}

const lead = (text, start) => text.slice(lineStart(text, start), start);

/** The end of an entry's last line that is more than empty. */
function lastLine(text, [start, end]) {
  const trimmed = text.slice(start, end).trimEnd().length;
  return lineEnd(text, start + trimmed);
}

/** A name that no layer has: conv, conv_2, … */
export function freeName(outline, wish) {
  const taken = new Set(outline.layers.map((layer) => layer.name));
  if (!taken.has(wish)) return wish;
  for (let k = 2; ; k += 1) if (!taken.has(`${wish}_${k}`)) return `${wish}_${k}`;
}

/** The text with a new layer after layer `k`. */
export function addLayer(text, outline, k, name, values, format) {
  const body = flow(values, format);
  const list = outline.list;
  const key = scalar(name, format);
  const at = entry(text, outline, k);
  if (inLines(text, outline)) {
    const end = lastLine(text, at);
    const own = list ? `{name: ${key}, ${body.slice(1)}` : `${key}: ${body}`;
    return replaced(text, [end, end], `\n${lead(text, at[0])}${own}`);
  }
  const own = list ? `{${format === "json" ? '"name"' : "name"}: ${key}, ${body.slice(1)}` : `${key}: ${body}`;
  const indent = lead(text, at[0]);
  const gap = /^\s*$/.test(indent) && at[0] > 0 ? `\n${indent}` : " ";
  return replaced(text, [at[1], at[1]], `,${gap}${own}`);
}

/** The text without layer `k`; null where it is the only one. */
export function removeLayer(text, outline, k) {
  const { length } = outline.layers;
  if (length < 2) return null;
  const at = entry(text, outline, k);
  if (inLines(text, outline)) {
    const end = lastLine(text, at);
    return replaced(text, [lineStart(text, at[0]), Math.min(text.length, end + 1)], "");
  }
  if (k + 1 < length) return replaced(text, [at[0], entry(text, outline, k + 1)[0]], "");
  return replaced(text, [entry(text, outline, k - 1)[1], at[1]], "");
}

/** The text with layers `k` and `k + 1` changing places; comments between them stay where they are. */
export function swapLayers(text, outline, k) {
  const [first, second] = [entry(text, outline, k), entry(text, outline, k + 1)];
  const ends = inLines(text, outline)
    ? [lastLine(text, first), lastLine(text, second)]
    : [first[1], second[1]];
  const [one, two] = [text.slice(first[0], ends[0]), text.slice(second[0], ends[1])];
  return text.slice(0, first[0]) + two + text.slice(ends[0], second[0]) + one + text.slice(ends[1]);
}

/** The text with layer `k` called `name`, also where other layers read it. */
export function renameLayer(text, outline, k, name, format) {
  const layer = outline.layers[k];
  const own = layer.keys.name?.at ?? layer.key;
  const edits = [[own, scalar(name, format)]];
  const swap = (value) => (value === layer.name ? name : value);
  const refer = (found) => {
    const { value, at } = found;
    const values = Array.isArray(value) ? value : [value];
    if (!values.includes(layer.name)) return;
    const names = values.map((other) => scalar(String(swap(other)), format));
    edits.push([at, Array.isArray(value) ? `[${names.join(", ")}]` : names[0]]);
  };
  for (const other of outline.layers) if (other.keys.inputs) refer(other.keys.inputs);
  if (outline.outputs?.at) refer(outline.outputs);
  edits.sort((a, b) => b[0][0] - a[0][0]);
  return edits.reduce((now, [at, by]) => replaced(now, at, by), text);
}
