// Dialogs: a title, a button that closes, whatever stands inside. The browser keeps the focus in them.

import { fresh, h } from "./dom.js";

/** A modal dialog, not yet in the document. `open()` shows it and takes it away when it is closed. */
export function dialog(title, children, { wide = false } = {}) {
  const id = fresh("dialog");
  const close = h(
    "button",
    { type: "button", class: "button quiet icon", "aria-label": "Close", onclick: () => element.close() },
    "✕",
  );
  const body = h("div", { class: "dialog-body" }, children);
  const element = h(
    "dialog",
    { class: wide ? "wide" : null, "aria-labelledby": id },
    h("div", { class: "dialog-head" }, h("h2", { id, text: title }), close),
    body,
  );
  element.addEventListener("click", (event) => {
    // The dialog itself is hit only outside its head and body: on the backdrop.
    if (event.target === element) element.close();
  });
  element.addEventListener("close", () => element.remove());
  const open = () => {
    document.body.append(element);
    element.showModal();
    // A body that scrolls must be reachable by keyboard.
    if (body.scrollHeight > body.clientHeight) body.tabIndex = 0;
  };
  return { element, body, open, close: () => element.close() };
}
