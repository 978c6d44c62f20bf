// The bar above the page for one network: which it is, the size of its input, its editor, back and forth.

import { fresh, h } from "../dom.js";
import { editor } from "./editor.js";
import { called, chooseNetwork } from "./sources.js";

const PATIENCE = 500;

function field(label, hint, commit) {
  const id = fresh("slot-field");
  const fault = h("span", { class: "slot-fault", id: `${id}-fault`, role: "alert" });
  const input = h("input", {
    id,
    spellcheck: "false",
    autocomplete: "off",
    autocapitalize: "off",
    "aria-describedby": `${fault.id}`,
    title: hint,
  });
  input.addEventListener("change", () => commit(input.value.trim()));
  const element = h("div", { class: "slot-field" }, h("label", { for: id, text: label }), input, fault);
  return {
    element,
    input,
    set(value) {
      if (input.value.trim() !== value) input.value = value;
    },
    fault(message) {
      fault.textContent = message ?? "";
      input.setAttribute("aria-invalid", String(Boolean(message)));
    },
  };
}

/** The suggestion that stands in the empty field: the shape that was used, without its batch. */
function used(page) {
  if (!page) return "";
  const short = ({ shape }) => (shape.length > 1 && shape[0] === 1 ? shape.slice(1) : shape).join("x");
  if (page.inputs.length === 1) return short(page.inputs[0]);
  return page.inputs.map((input) => `${input.name}=${short(input)}`).join(" ");
}

/**
 * The bar of `session`. `context` = {catalog, files, specText, letter, closed}; `closed` is called when the
 * user closes the second network, `opened()` when the editor opens, closes, or has another network. Gives
 * {element, editor, openEditor(open), letter(shown)}.
 */
export function slot(app, session, { catalog, files, specText, letter, closed = null, opened = null }) {
  const tag = h("span", { class: "slot-letter", text: letter, hidden: true });
  const which = h("span", { class: "ellipsis" });
  const label = () => (tag.hidden ? "network" : `network ${letter}`);
  const network = h("button", {
    type: "button",
    class: "button slot-network",
    onclick: () =>
      chooseNetwork({
        title: tag.hidden ? "Choose a network" : `Choose network ${letter}`,
        catalog,
        pick: (source) => pick(source),
        files: (list) => files(list, session),
      }),
  }, h("span", { class: "slot-word", text: "Network" }), which);
  const input = field(
    "Input",
    "Channels and sizes, such as 3x224x224; empty for the network's own. Several: left=1x64 right=1x64",
    (value) => value !== session.content.input && session.change({ input: value }),
  );
  const axes = field(
    "Axes",
    "Dims of a model's input that fields run along, such as 2,3; empty for the usual ones",
    (value) => value !== session.content.axes && session.change({ axes: value }),
  );
  const edit = h(
    "button",
    {
      type: "button",
      class: "button",
      "aria-pressed": "false",
      onclick: () => openEditor(writer.element.hidden),
    },
    "Edit",
  );
  const undo = h(
    "button",
    {
      type: "button",
      class: "button icon",
      "aria-label": "Undo",
      title: "Undo (Ctrl+Z)",
      onclick: () => session.undo(),
    },
    "↶",
  );
  const redo = h(
    "button",
    {
      type: "button",
      class: "button icon",
      "aria-label": "Redo",
      title: "Redo (Ctrl+Shift+Z)",
      onclick: () => session.redo(),
    },
    "↷",
  );
  const stop = h(
    "button",
    { type: "button", class: "button slot-cancel", onclick: () => session.cancel() },
    "Cancel",
  );
  const close =
    closed &&
    h(
      "button",
      {
        type: "button",
        class: "button icon",
        "aria-label": "End comparison",
        title: "End comparison",
        onclick: closed,
      },
      "✕",
    );
  const progress = h(
    "div",
    { class: "progress", role: "progressbar", "aria-label": "Working", hidden: true },
    h("span"),
  );
  const notice = h("div", { class: "slot-notice", role: "alert", hidden: true });
  const writer = editor(session, {
    label: label(),
    specText,
    choose: (name) => {
      const layer = session.store.state.page?.byName.get(name);
      if (layer) session.store.choose(layer.number);
    },
  });
  const element = h(
    "section",
    { class: "slot", "aria-label": closed ? "Network B" : "Network and input" },
    h(
      "div",
      { class: "slot-bar" },
      tag,
      network,
      input.element,
      axes.element,
      h("div", { class: "slot-acts" }, edit, undo, redo, stop, close),
    ),
    progress,
    notice,
    writer.element,
  );
  let patience = 0;

  function pick(source) {
    session.change({ source, input: "", axes: "" });
    if (source.kind === "spec") openEditor(true);
  }

  function openEditor(open) {
    writer.open(open);
    opened?.();
    edit.setAttribute("aria-pressed", String(open));
  }

  function content() {
    const { source, input: shape, axes: dims } = session.content;
    which.textContent = called(source, catalog);
    network.title = which.textContent;
    input.set(shape);
    axes.set(dims);
    axes.element.hidden = !dims && (source.kind === "spec" || Boolean(specText(source)));
    undo.disabled = !session.undoable;
    redo.disabled = !session.redoable;
    opened?.();
  }

  function busy() {
    progress.hidden = !session.busy;
    element.setAttribute("aria-busy", String(session.busy));
    clearTimeout(patience);
    if (session.busy) patience = setTimeout(() => stop.classList.add("shown"), PATIENCE);
    else stop.classList.remove("shown");
  }

  function fault() {
    const { fault: found } = session;
    const at = found?.kind === "source" ? session.last : null;
    input.fault(at === "input" ? found.message : null);
    axes.fault(at === "axes" ? found.message : null);
    const elsewhere = at || (found?.kind === "source" && !writer.element.hidden && writer.spec());
    notice.hidden = !found || Boolean(elsewhere);
    notice.replaceChildren();
    if (notice.hidden) return;
    const again = h(
      "button",
      { type: "button", class: "button small", onclick: () => session.analyze() },
      "Try again",
    );
    const spec = found.kind === "source" && writer.spec();
    const open = h(
      "button",
      { type: "button", class: "button small", onclick: () => openEditor(true) || fault() },
      "Show in the spec",
    );
    notice.append(h("p", { text: found.message }), found.kind === "source" ? (spec ? open : "") : again);
  }

  session.addEventListener("content", content);
  session.addEventListener("busy", busy);
  session.addEventListener("fault", fault);
  session.addEventListener("shown", () => (input.input.placeholder = used(session.store.state.page)));
  return {
    element,
    editor: writer,
    openEditor(open) {
      openEditor(open);
      fault();
    },
    letter(shown) {
      tag.hidden = !shown;
    },
  };
}
