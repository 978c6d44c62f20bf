// A plain text field for specs: line numbers, a mark where the error is, Tab for two spaces.

import { fresh, h } from "../dom.js";

/** Puts text in at the caret; through the browser where it can, so that its own undo knows of it. */
function insert(area, text) {
  if (!document.execCommand?.("insertText", false, text)) {
    area.setRangeText(text, area.selectionStart, area.selectionEnd, "end");
    area.dispatchEvent(new Event("input", { bubbles: true }));
  }
}

/**
 * A field with `.element`, `.value`, `.set(text)`, `.mark({line, column} or null)` and `.go(line, column)`;
 * `changed(text)` is called as one types. Undo inside is the browser's own: what it does comes as typing.
 */
export function textField({ label, changed, describedby }) {
  const id = fresh("spec-text");
  const hint = `${id}-hint`;
  const area = h("textarea", {
    id,
    spellcheck: "false",
    autocomplete: "off",
    autocapitalize: "off",
    wrap: "off",
    "aria-label": label,
    "aria-describedby": `${describedby} ${hint}`,
  });
  const gutter = h("pre", { class: "spec-gutter", "aria-hidden": "true" });
  const band = h("div", { class: "spec-band", hidden: true, "aria-hidden": "true" });
  const point = h("span", { class: "spec-point" });
  band.append(point);
  const scroll = h("div", { class: "spec-scroll" }, h("div", { class: "spec-page" }, band, gutter, area));
  const help = h("p", {
    class: "hint",
    id: hint,
    text: "Tab indents; press Esc and then Tab to leave the text.",
  });
  const element = h("div", { class: "spec-text" }, scroll, help);
  let lines = 0;
  let released = false;

  function resize() {
    const rows = area.value.split("\n");
    area.rows = rows.length + 1;
    area.cols = Math.max(24, rows.reduce((most, row) => Math.max(most, row.length), 0) + 3);
    if (rows.length !== lines) {
      lines = rows.length;
      gutter.textContent = Array.from({ length: lines }, (_, k) => k + 1).join("\n");
    }
  }

  function keys(event) {
    if (event.key === "Escape") {
      released = true;
      return;
    }
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
    if (event.key === "Tab" && plain && !released) {
      event.preventDefault();
      if (event.shiftKey) outdent();
      else insert(area, "  ");
    } else if (event.key === "Enter" && plain && !event.shiftKey && !event.isComposing) {
      const start = area.value.lastIndexOf("\n", area.selectionStart - 1) + 1;
      const indent = /^ */.exec(area.value.slice(start, area.selectionStart))[0];
      if (indent) {
        event.preventDefault();
        insert(area, `\n${indent}`);
      }
    }
    if (event.key !== "Tab" && event.key !== "Shift") released = false;
  }

  function outdent() {
    const at = area.selectionStart;
    const start = area.value.lastIndexOf("\n", at - 1) + 1;
    const spaces = /^ {0,2}/.exec(area.value.slice(start))[0].length;
    if (!spaces) return;
    area.setSelectionRange(start, start + spaces);
    if (!document.execCommand?.("delete")) {
      area.setRangeText("", start, start + spaces, "end");
      area.dispatchEvent(new Event("input", { bubbles: true }));
    }
    area.setSelectionRange(Math.max(start, at - spaces), Math.max(start, at - spaces));
  }

  area.addEventListener("keydown", keys);
  area.addEventListener("blur", () => (released = false));
  area.addEventListener("input", () => {
    resize();
    changed(area.value);
  });

  return {
    element,
    area,
    get value() {
      return area.value;
    },
    /** Shows another text; the caret stays where it was, as near as can be. */
    set(text) {
      if (area.value === text) return;
      const at = area.selectionStart;
      area.value = text;
      area.setSelectionRange(Math.min(at, text.length), Math.min(at, text.length));
      resize();
    },
    mark(place) {
      band.hidden = !place?.line;
      area.setAttribute("aria-invalid", place ? "true" : "false");
      if (!place?.line) return;
      const line = Math.min(place.line, lines || 1);
      band.style.setProperty("--line-number", line - 1);
      point.hidden = !place.column;
      if (place.column) point.style.setProperty("--column", place.column - 1);
    },
    go(line, column = 1) {
      const rows = area.value.split("\n");
      const before = rows.slice(0, Math.max(0, line - 1)).reduce((sum, row) => sum + row.length + 1, 0);
      const at = Math.min(area.value.length, before + Math.max(0, column - 1));
      area.focus();
      area.setSelectionRange(at, at);
      const height = parseFloat(getComputedStyle(area).lineHeight) || 20;
      scroll.scrollTop = Math.max(0, (line - 1) * height - scroll.clientHeight / 2);
    },
  };
}
