// Menus: a button that opens a list. They close on a choice, on Escape and on a click elsewhere.

import { h } from "./dom.js";

/** A menu of buttons and other elements: menu("Export", [item("SVG", f), …]); `entries` is appended at once. */
export function menu(label, entries, { title, start = false } = {}) {
  const summary = h("summary", { class: "button", title }, label);
  const list = h("div", { class: "menu-list" }, entries);
  const element = h("details", { class: start ? "menu start" : "menu" }, summary, list);
  const away = (event) => {
    if (!element.contains(event.target)) element.open = false;
  };
  element.addEventListener("toggle", () => {
    if (element.open) {
      place(list);
      document.addEventListener("pointerdown", away, true);
      document.addEventListener("focusin", away, true);
    } else {
      document.removeEventListener("pointerdown", away, true);
      document.removeEventListener("focusin", away, true);
    }
  });
  element.addEventListener("keydown", (event) => {
    if (!element.open) return;
    if (event.key === "Escape") {
      element.open = false;
      summary.focus();
      event.stopPropagation();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const stops = [...list.querySelectorAll("button:not(:disabled), input, select, a[href]")];
      if (!stops.length || event.target.matches("input[type=radio], select")) return;
      const at = stops.indexOf(document.activeElement);
      const step = event.key === "ArrowDown" ? 1 : -1;
      stops[at < 0 ? (step > 0 ? 0 : stops.length - 1) : (at + step + stops.length) % stops.length].focus();
      event.preventDefault();
    }
  });
  list.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button && !button.hasAttribute("data-stay")) {
      element.open = false;
      if (document.activeElement === button) summary.focus();
    }
  });
  return element;
}

/** One entry of a menu. */
export function item(label, act) {
  return h("button", { type: "button", onclick: act }, label);
}

/**
 * Keeps an opened list inside the window: it hangs from its button's end and moves in where that is too far.
 */
function place(list) {
  list.style.translate = "none";
  const { left, right } = list.getBoundingClientRect();
  const width = document.documentElement.clientWidth;
  if (left < 8) list.style.translate = `${Math.ceil(8 - left)}px 0`;
  else if (right > width - 8) list.style.translate = `${Math.floor(width - 8 - right)}px 0`;
}
