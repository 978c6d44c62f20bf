// A text field that finds one of many names: the ARIA combobox with a list below it.

import { fresh, h } from "../dom.js";

const MOST = 100;

/** The names that fit a text, those that begin with it first. */
export function matching(names, typed) {
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  const found = names.filter((name) => words.every((word) => name.toLowerCase().includes(word)));
  const first = words[0] ?? "";
  return [
    ...found.filter((n) => n.toLowerCase().startsWith(first)),
    ...found.filter((n) => !n.toLowerCase().startsWith(first)),
  ];
}

/** A labelled combobox; `pick(name)` is called with a name of the list. */
export function combobox({ label, names, pick }) {
  const id = fresh("combo");
  const list = h("ul", {
    class: "combo-list",
    id: `${id}-list`,
    role: "listbox",
    "aria-label": label,
    hidden: true,
  });
  const tally = h("span", { class: "hint", role: "status" });
  const input = h("input", {
    id,
    type: "text",
    role: "combobox",
    "aria-expanded": "false",
    "aria-controls": list.id,
    "aria-autocomplete": "list",
    placeholder: `Search ${names.length} names`,
    spellcheck: "false",
    autocomplete: "off",
  });
  let shownNames = [];
  let at = -1;

  function open() {
    const found = matching(names, input.value);
    shownNames = found.slice(0, MOST);
    at = -1;
    list.replaceChildren(
      ...shownNames.map((name, k) =>
        h("li", { id: `${id}-${k}`, role: "option", "aria-selected": "false", "data-k": k, text: name }),
      ),
    );
    list.hidden = !shownNames.length;
    input.setAttribute("aria-expanded", String(!list.hidden));
    input.removeAttribute("aria-activedescendant");
    const more = found.length > MOST ? `, the first ${MOST} shown` : "";
    tally.textContent = found.length ? `${found.length} found${more}` : "No such name";
  }

  function shut() {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function move(to) {
    if (list.hidden) open();
    if (!shownNames.length) return;
    list.children[at]?.setAttribute("aria-selected", "false");
    at = (to + shownNames.length) % shownNames.length;
    list.children[at].setAttribute("aria-selected", "true");
    list.children[at].scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", `${id}-${at}`);
  }

  function choose(name) {
    input.value = name;
    shut();
    pick(name);
  }

  input.addEventListener("input", open);
  input.addEventListener("focus", open);
  input.addEventListener("blur", shut);
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") move(at + 1);
    else if (event.key === "ArrowUp") move(at < 0 ? -1 : at - 1);
    else if (event.key === "Escape" && !list.hidden) shut();
    else if (event.key === "Enter") {
      const only = matching(names, input.value);
      const exact = names.includes(input.value.trim()) ? input.value.trim() : null;
      const name = at >= 0 && !list.hidden ? shownNames[at] : (exact ?? (only.length === 1 ? only[0] : null));
      if (name) choose(name);
      else tally.textContent = "Choose a name from the list";
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  // Before the field loses the focus, which shuts the list.
  list.addEventListener("mousedown", (event) => {
    event.preventDefault();
    const option = event.target.closest("[role=option]");
    if (option) choose(shownNames[Number(option.dataset.k)]);
  });
  return h("div", { class: "combo" }, h("label", { for: id, text: label }), input, tally, list);
}
