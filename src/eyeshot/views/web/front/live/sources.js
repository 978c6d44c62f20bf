// Where a network comes from: an example, a file, a zoo's model, an empty spec, or what the command line named.

import { dialog } from "../dialog.js";
import { h } from "../dom.js";
import { combobox } from "./combo.js";

/** A spec to begin with. */
const EMPTY = `# A new network: one line per layer.
name: new network
input: [3, 64, 64]
layers:
  conv1: {op: conv, kernel: 3, stride: 1, padding: 1, channels: 16}
`;

const SPEC = /\.(ya?ml|json|toml)$/i;

/** The format of a spec by its file's name; null where it is no spec. */
export function formatOf(name) {
  const found = SPEC.exec(name);
  if (!found) return null;
  const suffix = found[1].toLowerCase();
  return suffix === "yml" ? "yaml" : suffix;
}

/** A source in few words. */
export function called(source, catalog) {
  switch (source?.kind) {
    case "spec":
      return "own spec";
    case "example":
      return `example:${source.name}`;
    case "upload":
      return source.name ?? "ONNX file";
    case "model":
      return `${source.zoo}:${source.name}`;
    case "given":
      return catalog.given?.title || source.title || "the command line's";
    default:
      return "none";
  }
}

/** How many bytes, in words. */
export function size(bytes) {
  const units = ["KiB", "MiB", "GiB"];
  let value = bytes / 1024;
  while (value >= 1024 && units.length > 1) {
    value /= 1024;
    units.shift();
  }
  return `${value < 10 ? Math.max(0.1, Math.round(value * 10) / 10) : Math.round(value)} ${units[0]}`;
}

const TITLES = { torchvision: "torchvision", timm: "timm" };

/**
 * Opens the dialog that chooses a network. `pick(source)` gets a source, `files(list)` files to open.
 */
export function chooseNetwork({ title, catalog, pick, files }) {
  const chosen = (source) => {
    opened.close();
    pick(source);
  };
  const opened = dialog(title, [], { wide: true });
  const button = (name, about, source) =>
    h(
      "li",
      {},
      h(
        "button",
        { type: "button", class: "source", onclick: () => chosen(source) },
        h("b", { text: name }),
        about && h("span", { text: about }),
      ),
    );
  const { given, examples, zoos, limits } = catalog;
  const file = h("input", {
    type: "file",
    class: "unseen",
    accept: ".onnx,.yaml,.yml,.json,.toml",
    "aria-label": "Choose a file",
    tabindex: "-1",
    onchange: () => {
      opened.close();
      files([...file.files]);
    },
  });
  const most = limits?.upload ? `, up to ${size(limits.upload)}` : "";
  const models = Object.entries(TITLES).map(([zoo, name]) =>
    zoos?.[zoo]
      ? combobox({
          label: name,
          names: zoos[zoo],
          pick: (model) => chosen({ kind: "model", zoo, name: model }),
        })
      : h("p", { class: "hint", text: `${name} is not installed beside eyeshot.` }),
  );
  const part = (heading, ...children) =>
    h("section", { class: "source-part" }, h("h3", { text: heading }), ...children);
  opened.body.append(
    h(
      "div",
      { class: "sources" },
      part(
        "Bundled examples",
        h(
          "ul",
          { class: "source-list" },
          examples.map(({ name, title: about }) =>
            button(about || name, `example:${name}`, { kind: "example", name }),
          ),
        ),
      ),
      h(
        "div",
        {},
        given &&
          part(
            "From the command line",
            h(
              "ul",
              { class: "source-list" },
              button(given.title || "SOURCE", null, { kind: "given", title: given.title }),
            ),
          ),
        part(
          "A file",
          h("p", {
            class: "hint",
            text:
              `An ONNX file${most}, a spec (YAML, JSON, TOML), or a saved state. It may also be dropped ` +
              "anywhere on the page.",
          }),
          file,
          h("button", { type: "button", class: "button", onclick: () => file.click() }, "Open a file…"),
        ),
        part("A model of a library", ...models),
        part(
          "Your own",
          h(
            "button",
            {
              type: "button",
              class: "button",
              onclick: () => chosen({ kind: "spec", text: EMPTY, format: "yaml" }),
            },
            "New spec",
          ),
        ),
      ),
    ),
  );
  opened.open();
  return opened;
}
