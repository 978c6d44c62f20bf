// The spec's editor: text and form, two views of one text. Every edit goes to the session.

import { fresh, h } from "../dom.js";
import { aborted, ask, Fault } from "./api.js";
import { specForm } from "./form.js";
import { localised } from "./patch.js";
import { textField } from "./text.js";

const LONGEST = 2_000_000;

/** The line (from 1) of an offset. */
const lineOf = (text, at) => text.slice(0, at).split("\n").length;

/** Where a layer is written in a spec that can't be read any more. */
function sought(text, layer) {
  const plain = layer.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const at = text.search(
    new RegExp(`^[ \\t]*(?:- +)?(?:\\{? *"?name"?: *)?["']?${plain}["']?[ ,}]*(?::|$)`, "m"),
  );
  return at < 0 ? null : lineOf(text, at);
}

/**
 * The editor of one session: {element, open(), sync()}. `specText(source)` gives the text of an example or
 * given spec.
 */
export function editor(session, { label, specText, choose }) {
  const id = fresh("editor");
  const message = h("p", { class: "editor-fault", id: `${id}-fault`, role: "status", "aria-live": "polite" });
  const field = textField({
    label: `Text of ${label}`,
    describedby: message.id,
    changed: (text) => set(text, "text", 25),
  });
  const form = specForm({ edit, choose });
  const none = h("p", { class: "hint editor-none" });
  const modes = ["text", "form"].map((mode) =>
    h(
      "button",
      { type: "button", class: "button", "data-mode": mode, onclick: () => show(mode) },
      mode === "text" ? "Text" : "Form",
    ),
  );
  const formats = h(
    "select",
    { "aria-label": "Format of the spec", onchange: () => set(field.value, null, 0) },
    ["yaml", "json", "toml"].map((format) => h("option", { value: format, text: format.toUpperCase() })),
  );
  const body = h("div", { class: "editor-body" }, field.element, form.element);
  const tools = h(
    "div",
    { class: "editor-tools" },
    h("div", { class: "segments", role: "group", "aria-label": "View of the spec" }, modes),
    formats,
  );
  const element = h(
    "section",
    { class: "editor", "aria-label": `Spec of ${label}`, hidden: true },
    tools,
    none,
    body,
    message,
  );
  let outlined = null; // {text, format, outline}
  let asking = null;
  let queue = Promise.resolve();
  let mode = "text";

  function set(text, kind, delay, wish = null) {
    session.change({ source: { kind: "spec", text, format: formats.value } }, { kind, delay, wish });
  }

  /** A layer that gets another name stays the chosen one. */
  function followed([from, to]) {
    const { layer, unit, shown, through } = session.state();
    const swap = (name) => (name === from ? to : name);
    return layer === null ? null : { layer: swap(layer), unit, shown, through: through.map(swap) };
  }

  /** The outline of the text as it is now. Throws what the server says where there is none. */
  async function outlineOf(text, format) {
    if (outlined?.text === text && outlined.format === format) return outlined.outline;
    asking?.abort();
    asking = new AbortController();
    const found = localised(await ask("outline", { text, format }, asking.signal), text);
    if (!found) throw new Fault({ message: "the form edits YAML and JSON; this text can be edited as text" });
    outlined = { text, format, outline: found };
    return found;
  }

  /** Changes of the form wait for each other, for each needs to know where things stand after the last. */
  function edit(change, kind = null, renamed = null) {
    queue = queue.then(async () => {
      const text = field.value;
      try {
        const outline = await outlineOf(text, formats.value);
        const next = change(text, outline, formats.value);
        if (next === null || next === text) return;
        field.set(next);
        set(next, kind, 0, renamed && followed(renamed()));
      } catch (error) {
        if (!aborted(error)) form.show(null, "", error instanceof Fault ? error.message : String(error));
      }
    });
    return queue;
  }

  async function refreshForm() {
    const text = field.value;
    try {
      const outline = await outlineOf(text, formats.value);
      if (field.value !== text) return;
      form.show(outline, text);
      markFault();
    } catch (error) {
      if (!aborted(error)) form.show(null, "", `The form waits for a spec that can be read: ${error.message}`);
    }
  }

  function show(next) {
    mode = next;
    for (const button of modes) button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    field.element.hidden = mode !== "text";
    form.element.hidden = mode !== "form";
    if (mode === "form") refreshForm();
  }

  function markFault() {
    const { fault } = session;
    const own = fault && (fault.kind === "source" || fault.kind === "slow");
    const layer = own ? fault.layer : null;
    const text = field.value;
    let place = null;
    if (own) {
      const known =
        layer && outlined?.text === text ? outlined.outline.layers.find(({ name }) => name === layer) : null;
      const line =
        fault.line ?? (known ? lineOf(text, (known.key ?? known.at)[0]) : layer ? sought(text, layer) : null);
      place = line ? { line, column: fault.column } : {};
    }
    field.mark(place);
    form.fault(layer, own ? fault.message : "");
    message.replaceChildren();
    element.classList.toggle("faulty", Boolean(own));
    if (!own) return;
    if (place.line) {
      const where = place.column ? `Line ${place.line}, column ${place.column}` : `Line ${place.line}`;
      const go = () => {
        show("text");
        field.go(place.line, place.column ?? 1);
      };
      message.append(h("button", { type: "button", class: "name", onclick: go }, where), " ");
    }
    message.append(fault.message);
  }

  /** Shows what the session asks for. */
  function sync() {
    const { source } = session.content ?? {};
    const spec = source?.kind === "spec" ? source : specText(source);
    const long = spec && spec.text.length > LONGEST;
    none.hidden = Boolean(spec) && !long;
    none.textContent = long
      ? "This spec is too long to be edited here."
      : "This network is no spec, so its text can't be edited. Begin a new spec, or an example, under " +
        "“Network”.";
    body.hidden = tools.hidden = !spec || long;
    if (!spec || long || element.hidden) return;
    formats.value = spec.format;
    field.set(spec.text);
    if (mode === "form") refreshForm();
  }

  session.addEventListener("content", sync);
  session.addEventListener("fault", markFault);
  show("text");
  return {
    element,
    open(open) {
      element.hidden = !open;
      if (open) {
        sync();
        markFault();
      }
    },
    show,
    /** Whether there is a text to be edited here. */
    get opened() {
      return !element.hidden && none.hidden;
    },
    /** The spec as it stands, for a download; null where the network is none. */
    spec() {
      const { source } = session.content ?? {};
      return source?.kind === "spec" ? source : specText(source);
    },
  };
}
