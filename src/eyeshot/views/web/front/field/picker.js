// A field to choose from many names by typing a part of one: ARIA's editable combobox with a list.

import { fresh, h } from "../dom.js";
import { clamp } from "../scales.js";

const MOST = 600;

/** A combobox: `element`, `items` [{value, text, note}], `value`. Calls `choose(value)`. */
export class Picker {
  #shown = [];
  #at = -1;

  constructor({ label, choose, placeholder = null, inline = false }) {
    this.items = [];
    this.choose = choose;
    const id = fresh("picker");
    this.list = h("div", { class: "picker-list", id, role: "listbox", "aria-label": label, hidden: true });
    this.input = h("input", {
      type: "text",
      role: "combobox",
      "aria-label": label,
      "aria-expanded": "false",
      "aria-controls": id,
      "aria-autocomplete": "list",
      autocomplete: "off",
      spellcheck: "false",
      autocapitalize: "off",
      placeholder,
      class: "picker-input",
      onfocus: () => this.input.select(),
      onclick: () => this.#open(""),
      oninput: () => this.#open(this.input.value),
      onblur: () => this.#close(),
      onkeydown: (event) => this.#key(event),
    });
    this.list.addEventListener("pointerdown", (event) => event.preventDefault());
    this.list.addEventListener("click", (event) => {
      const option = event.target.closest("[role=option]");
      if (option) this.#take(Number(option.dataset.at));
    });
    this.element = h("div", { class: inline ? "picker inline" : "picker" }, this.input, this.list);
  }

  /** Shows a value as chosen. */
  set value(value) {
    this.chosen = value;
    this.text = this.items.find((item) => item.value === value)?.text ?? "";
    if (this.list.hidden) this.#rest();
  }

  #rest() {
    this.input.value = this.text ?? "";
    this.input.title = this.text ?? "";
  }

  #open(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    const found = this.items.filter((item) =>
      words.every((word) => `${item.text} ${item.note}`.toLowerCase().includes(word)),
    );
    this.#shown = found.slice(0, MOST);
    const rows = this.#shown.map((item, k) =>
      h(
        "div",
        {
          role: "option",
          id: `${this.list.id}-${k}`,
          "data-at": k,
          title: item.text,
          "aria-selected": String(item.value === this.chosen),
        },
        h("span", { class: "ellipsis", text: item.text }),
        h("span", { class: "picker-note", text: item.note }),
      ),
    );
    const more = found.length - this.#shown.length;
    const said = more ? `${more} more: type a part of the name` : "No such name";
    if (!rows.length || more) rows.push(h("p", { class: "picker-more", text: said }));
    this.list.replaceChildren(...rows);
    this.list.hidden = false;
    this.input.setAttribute("aria-expanded", "true");
    const at = words.length ? 0 : this.#shown.findIndex((item) => item.value === this.chosen);
    this.#move(this.#shown.length ? Math.max(0, at) : -1);
  }

  #close() {
    if (!this.list.hidden) {
      this.list.hidden = true;
      this.list.replaceChildren();
      this.input.setAttribute("aria-expanded", "false");
      this.input.removeAttribute("aria-activedescendant");
    }
    this.#rest();
  }

  #move(at) {
    this.list.querySelector(".active")?.classList.remove("active");
    this.#at = at;
    const option = this.list.children[at];
    if (at < 0 || !option) return void this.input.removeAttribute("aria-activedescendant");
    option.classList.add("active");
    // Not scrollIntoView: it would move the page as well.
    const { offsetTop, offsetHeight } = option;
    const { scrollTop, clientHeight } = this.list;
    if (offsetTop < scrollTop) this.list.scrollTop = offsetTop;
    else if (offsetTop + offsetHeight > scrollTop + clientHeight) {
      this.list.scrollTop = offsetTop + offsetHeight - clientHeight;
    }
    this.input.setAttribute("aria-activedescendant", option.id);
  }

  #take(at) {
    const item = this.#shown[at];
    if (!item) return;
    this.#close();
    this.choose(item.value);
  }

  #key(event) {
    const open = !this.list.hidden;
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key];
    if (step) {
      if (!open) this.#open("");
      else this.#move(clamp(this.#at + step, 0, this.#shown.length - 1));
    } else if (event.key === "Enter" && open) this.#take(this.#at);
    else if (event.key === "Escape" && open) this.#close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
