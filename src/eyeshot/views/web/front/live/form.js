// The spec as a form: one row per layer. It edits the same text as the field beside it, in place.

import { fresh, h } from "../dom.js";
import { addLayer, freeName, removeLayer, renameLayer, setKey, shown, style, swapLayers } from "./patch.js";

const WINDOW = ["kernel", "stride", "padding"];
const POOL = [...WINDOW, "dilation"];
/** What a row offers for an operator, besides what its text already has. */
const FIELDS = {
  conv: [...WINDOW, "dilation", "groups", "channels"],
  conv_transpose: [...WINDOW, "output_padding", "dilation", "groups", "channels"],
  max_pool: POOL,
  avg_pool: POOL,
  lp_pool: POOL,
  adaptive_avg_pool: ["size"],
  adaptive_max_pool: ["size"],
  mean: ["dims"],
  sum: ["dims"],
  upsample: ["scale", "size", "mode"],
  pad: ["padding", "mode"],
  crop: ["margin"],
  slice: ["dim", "start", "stop", "step"],
  index: ["dim", "index"],
  select: ["dim", "index"],
  flip: ["dims"],
  roll: ["shift", "dims"],
  pixel_shuffle: ["factor"],
  pixel_unshuffle: ["factor"],
  channel_shuffle: ["groups"],
  group_norm: ["groups"],
  linear: ["features", "dim"],
  attention: ["kind", "window", "shift"],
  rnn: ["channels", "bidirectional"],
  lstm: ["channels", "bidirectional"],
  gru: ["channels", "bidirectional"],
  reshape: ["shape"],
  permute: ["order"],
};
const PLAIN = [
  "add", "mul", "concat", "relu", "gelu", "sigmoid", "tanh", "dropout", "identity", "batch_norm", "layer_norm",
  "instance_norm", "softmax", "global_avg_pool", "global_max_pool", "flatten", "cumsum", "fft", "opaque",
];
const OPS = [...Object.keys(FIELDS), ...PLAIN];
const ONES = new Set(["stride", "dilation", "groups", "step", "scale", "factor"]);
const STEPPED = new Set([
  "kernel", "stride", "padding", "dilation", "groups", "channels", "output_padding", "size", "scale", "margin",
  "factor", "features", "window", "shift", "start", "stop", "step",
]);
const LEAST = {
  padding: -Infinity,
  output_padding: 0,
  shift: -Infinity,
  start: -Infinity,
  stop: -Infinity,
  margin: 0,
};
const NUMBERS = /^([-+]?\d+|\[ *[-+]?\d+( *, *[-+]?\d+)* *\])$/;
const ROWS = 400;

/** What stands in a field that is empty. */
function standard(op, key) {
  if (key === "kernel") return "1";
  if (key === "stride" && op.includes("pool")) return "kernel";
  if (key === "channels") return "as input";
  if (ONES.has(key)) return "1";
  return key === "padding" || key === "output_padding" ? "0" : "";
}

/** Every whole number in a text moved by `step`, not below `least`. */
function stepped(text, step, least) {
  if (!/\d/.test(text)) return null;
  return text.replace(/[-+]?\d+/g, (found) => String(Math.max(least, Number(found) + step)));
}

/**
 * The form. `edit(change)` is called with a function that makes a new text of (text, outline, format);
 * `.show(outline, {faulty})` draws; faulty is the name of the layer with the error, if any.
 */
export function specForm({ edit, choose }) {
  const ops = fresh("ops");
  const rows = h("div", { class: "spec-rows", role: "group", "aria-label": "Layers" });
  const note = h("p", { class: "hint" });
  const element = h(
    "div",
    {},
    h("datalist", { id: ops }, OPS.map((op) => h("option", { value: op }))),
    note,
    rows,
  );
  let drawn = "";

  function field(layer, k, key, stepping) {
    const value = shown(layer.keys[key]?.value);
    const input = h("input", {
      "data-at": `${k}.${key}`,
      "aria-label": `${key} of ${layer.name}`,
      value,
      size: Math.max(4, Math.min(14, value.length + 1)),
      placeholder: standard(layer.op, key),
      list: key === "op" ? ops : null,
      spellcheck: "false",
      autocomplete: "off",
    });
    const send = () =>
      edit((text, outline, format) => {
        const now = outline.layers[k];
        return shown(now.keys[key]?.value) === input.value ? null : setKey(text, now, key, input.value, format);
      }, `form.${k}.${key}`);
    input.addEventListener("change", send);
    // Numbers act as they are typed; what is not one yet waits until it is done.
    if (stepping) input.addEventListener("input", () => NUMBERS.test(input.value.trim()) && send());
    if (!stepping) return h("label", { class: "spec-value" }, h("span", { text: key }), input);
    const step = (by) => () => {
      const least = LEAST[key] ?? 1;
      const from =
        input.value || (key === "stride" && layer.op.includes("pool") ? shown(layer.keys.kernel?.value) : "");
      const start = from || (ONES.has(key) || key === "kernel" ? "1" : "0");
      const next = stepped(start, by, least);
      if (next === null || next === input.value) return;
      input.value = next;
      send();
    };
    input.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
      event.preventDefault();
      step(event.key === "ArrowUp" ? 1 : -1)();
    });
    const button = (label, sign, by) =>
      h(
        "button",
        {
          type: "button",
          class: "spec-step",
          tabindex: "-1",
          "aria-label": `${label} ${key} of ${layer.name}`,
          onclick: step(by),
        },
        sign,
      );
    return h(
      "label",
      { class: "spec-value" },
      h("span", { text: key }),
      h("span", { class: "spec-number" }, button("Less", "−", -1), input, button("More", "+", 1)),
    );
  }

  function name(layer, k) {
    const input = h("input", {
      class: "spec-name",
      "data-at": `${k}.name`,
      "aria-label": `Name of layer ${k + 1}`,
      value: layer.name,
      spellcheck: "false",
      autocomplete: "off",
    });
    input.addEventListener("change", () =>
      edit((text, outline, format) => {
        const wish = input.value.trim();
        if (!wish || wish === outline.layers[k].name) return null;
        return renameLayer(text, outline, k, wish, format);
      }, null, () => [layer.name, input.value.trim()]),
    );
    input.addEventListener("focus", () => choose(layer.name));
    return input;
  }

  function operator(layer, k) {
    const input = h("input", {
      "data-at": `${k}.op`,
      "aria-label": `Operator of ${layer.name}`,
      value: layer.op,
      list: ops,
      spellcheck: "false",
      autocomplete: "off",
    });
    input.addEventListener("change", () =>
      edit((text, outline, format) => {
        const now = outline.layers[k];
        return now.op === input.value.trim() || !input.value.trim()
          ? null
          : setKey(text, now, "op", input.value, format);
      }),
    );
    return input;
  }

  function act(k, what, label, sign, change, disabled = false) {
    return h("button", {
      type: "button",
      class: "spec-act",
      "data-at": `${k}.${what}`,
      "aria-label": label,
      title: label,
      disabled,
      onclick: () => edit(change),
    }, sign);
  }

  function row(layer, k, last) {
    const offered = FIELDS[layer.op] ?? [];
    const more = Object.keys(layer.keys).filter(
      (key) => !offered.includes(key) && key !== "op" && key !== "name",
    );
    const short = layer.short;
    const keys = short ? WINDOW : [...offered, ...more];
    const quoted = layer.name.length > 40 ? `${layer.name.slice(0, 39)}…` : layer.name;
    return h(
      "div",
      { class: "spec-row", role: "group", "aria-label": `Layer ${k + 1}: ${quoted}`, "data-layer": k },
      h("div", { class: "spec-who" }, name(layer, k), operator(layer, k)),
      h("div", { class: "spec-values" }, keys.map((key) => field(layer, k, key, STEPPED.has(key)))),
      h(
        "div",
        { class: "spec-acts" },
        act(k, "up", `Move ${quoted} up`, "↑", (text, outline) => swapLayers(text, outline, k - 1), k === 0),
        act(k, "down", `Move ${quoted} down`, "↓", (text, outline) => swapLayers(text, outline, k), last),
        act(k, "add", `Add a layer after ${quoted}`, "+", (text, outline, format) =>
          addLayer(
            text,
            outline,
            k,
            freeName(outline, "conv"),
            { op: "conv", kernel: "3", stride: "1", padding: "1" },
            format,
          ),
        ),
        act(k, "remove", `Remove ${quoted}`, "✕", (text, outline) => removeLayer(text, outline, k)),
      ),
    );
  }

  /** What a row is made of; values can change without it. */
  const frame = (layer) =>
    `${layer.name}\u0000${layer.op}\u0000${Object.keys(layer.keys).join()}\u0000${layer.short}`;

  function redraw(layers) {
    const before = document.activeElement;
    const at = before?.dataset?.at;
    const inside = element.contains(before);
    const typed = inside && before.matches("input") ? [before.value, before.selectionStart] : null;
    rows.replaceChildren(...layers.map((layer, k) => row(layer, k, k + 1 === layers.length)));
    if (!inside || !at) return;
    const [k, what] = at.split(".");
    const next = Math.min(Number(k), layers.length - 1);
    const button = rows.querySelector(`[data-at="${next}.${what}"]`);
    (button && !button.disabled ? button : rows.querySelector(`[data-at="${next}.name"]`))?.focus();
    // What was typed since the question.
    if (typed && button?.matches("input") && !/\.(name|op)$/.test(at)) {
      button.value = typed[0];
      button.setSelectionRange(typed[1], typed[1]);
    }
  }

  function refill(layers) {
    layers.forEach((layer, k) => {
      for (const [key, found] of Object.entries(layer.keys)) {
        const input = rows.children[k].querySelector(`[data-at="${k}.${key}"]`);
        if (input && input !== document.activeElement && key !== "name" && key !== "op") {
          input.value = shown(found.value);
        } else if (input && input.value !== shown(found.value) && !input.matches(":focus"))
          input.value = shown(found.value);
      }
    });
  }

  return {
    element,
    show(outline, text, message = "") {
      note.textContent = message;
      note.hidden = !message;
      if (!outline) return;
      const layers = outline.layers
        .slice(0, ROWS)
        .map((layer) => ({ ...layer, short: style(text, layer) === "short" }));
      if (outline.layers.length > ROWS) {
        note.hidden = false;
        const all = outline.layers.length;
        note.textContent = `The form shows the first ${ROWS} of ${all} layers; the text has all.`;
      }
      const now = layers.map(frame).join("\u0001");
      if (now === drawn) refill(layers);
      else {
        drawn = now;
        redraw(layers);
      }
    },
    fault(layerName, message) {
      for (const found of rows.querySelectorAll(".spec-row")) {
        const faulty = layerName !== null && found.querySelector(".spec-name").defaultValue === layerName;
        found.classList.toggle("faulty", faulty);
        found.querySelector(".spec-fault")?.remove();
        if (faulty) found.append(h("p", { class: "spec-fault", text: message }));
      }
    },
  };
}
