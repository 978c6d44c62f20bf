// Files from the picker or dropped on the page: ONNX goes to the server, specs are read here, states are
// opened.

import { h } from "../dom.js";
import { dialog } from "../dialog.js";
import { aborted, Fault, upload } from "./api.js";
import { formatOf, size } from "./sources.js";
import { fromFile, meantAsState } from "./state.js";

const SPEC = 16 * 2 ** 20;

/** Sends an ONNX file and shows how far it is. Gives its source, or null where the user cancelled. */
async function send(file) {
  const stop = new AbortController();
  const bar = h("progress", { max: "1", value: "0", "aria-label": `Sending ${file.name}` });
  const sent = h("p", { role: "status", text: `0 % of ${size(file.size)}` });
  const cancel = h("button", { type: "button", class: "button", onclick: () => stop.abort() }, "Cancel");
  const shown = dialog("Opening a file", [
    h("p", { class: "sending-name", text: file.name }),
    bar,
    sent,
    cancel,
  ]);
  shown.element.classList.add("sending");
  shown.element.addEventListener("close", () => stop.abort());
  shown.open();
  try {
    const progress = (part) => {
      bar.value = part;
      sent.textContent = part < 1 ? `${Math.round(100 * part)} % of ${size(file.size)}` : "Reading it…";
    };
    const { id } = await upload(file, { signal: stop.signal, progress });
    return { kind: "upload", id, name: file.name };
  } catch (error) {
    if (aborted(error)) return null;
    throw error;
  } finally {
    shown.close();
  }
}

/**
 * Opens a file for a session: {opened: source} or {state}, or null where the user gave up. Throws a Fault or
 * StateError in words.
 */
export async function openFile(file, limits) {
  if (/\.onnx$/i.test(file.name)) {
    if (limits?.upload && file.size > limits.upload) {
      throw new Fault({
        message: `${file.name} has ${size(file.size)}; the server takes at most ${size(limits.upload)}.`,
      });
    }
    const source = await send(file);
    return source && { opened: source };
  }
  const format = formatOf(file.name);
  if (!format) {
    throw new Fault({ message: `${file.name}: this page opens .onnx, .yaml, .json and .toml files.` });
  }
  if (file.size > (limits?.spec ?? SPEC) && format !== "json") {
    throw new Fault({
      message: `${file.name} has ${size(file.size)}; a spec is at most ${size(limits?.spec ?? SPEC)}.`,
    });
  }
  const text = (await file.text()).replace(/^\ufeff/, "").replace(/\r\n?/g, "\n");
  if (format === "json" && meantAsState(text)) return { state: fromFile(text) };
  return { opened: { kind: "spec", text, format } };
}

/** Lets files be dropped anywhere on the page; `files(list)` gets them. Images are the field view's. */
export function droppable(files) {
  const veil = h(
    "div",
    { class: "drop-veil", hidden: true, "aria-hidden": "true" },
    h("p", { text: "Drop an ONNX file, a spec or a saved state" }),
  );
  document.body.append(veil);
  let depth = 0;
  const ours = (event) => {
    const { items = [] } = event.dataTransfer ?? {};
    return [...items].some((item) => item.kind === "file" && !item.type.startsWith("image/"));
  };
  const show = (shown) => {
    veil.hidden = !shown;
    if (!shown) depth = 0;
  };
  addEventListener("dragenter", (event) => {
    if (!ours(event)) return;
    depth += 1;
    show(true);
  });
  addEventListener("dragleave", () => {
    depth -= 1;
    if (depth <= 0) show(false);
  });
  addEventListener("dragover", (event) => ours(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    const mine = !event.defaultPrevented && ours(event);
    show(false);
    if (!mine) return;
    event.preventDefault();
    files([...event.dataTransfer.files]);
  });
}
