// Chooses the layers that are shown on the way through.

import { h } from "../dom.js";
import { item, menu } from "../menu.js";
import { shape } from "../words.js";
import { between } from "./parts.js";
import { Picker } from "./picker.js";

const MOST = 5;

/** The menu; `update(state)` fills it for another layer. */
export function throughMenu(app) {
  const { store } = app;
  const head = h("h3", { text: "Maps on the way" });
  const list = h("div", { class: "through-list" });
  const choose = (k) => set([...current(), k]);
  const picker = new Picker({
    label: "Add a layer on the way",
    placeholder: "Add a layer…",
    inline: true,
    choose,
  });
  const automatic = item("Choose them for me", () => store.set({ through: [] }));
  const title = "Which maps between the input and the layer are shown";
  const element = menu("Through", [head, list, picker.element, automatic], { start: true, title });
  element.classList.add("through");

  function current() {
    const { page, layer, source, through } = store.state;
    const known = through.filter((k) => k < layer);
    return known.length ? known : between(page, page.layers[layer], source);
  }

  function set(numbers) {
    store.set({ through: [...new Set(numbers)].sort((a, b) => a - b).slice(-MOST) });
  }

  function update(state) {
    const { page, layer, through } = state;
    const chosen = current();
    list.replaceChildren(
      ...chosen.map((k) =>
        h(
          "button",
          {
            type: "button",
            "data-stay": true,
            title: page.layers[k].name,
            "aria-label": `Take ${page.layers[k].name} away`,
            onclick: () => set(chosen.filter((other) => other !== k)),
          },
          h("span", { class: "ellipsis mono", text: page.layers[k].name }),
          h("span", { "aria-hidden": "true", text: "✕" }),
        ),
      ),
    );
    picker.items = page.layers
      .slice(0, layer)
      .filter((one) => one.extent.length && !chosen.includes(one.number))
      .map((one) => ({ value: one.number, text: one.name, note: shape(one.extent) }));
    picker.value = null;
    automatic.disabled = !through.length;
  }

  return { element, update };
}
