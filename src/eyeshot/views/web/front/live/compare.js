// Two networks side by side: views of one network a second time, with a store of its own; what is chosen
// here is chosen there.

import * as field from "../field.js";
import * as findings from "../findings.js";
import * as graph from "../graph.js";
import * as table from "../table.js";
import { h } from "../dom.js";
import { likewise, START, Store } from "../store.js";

const VIEWS = { graph, field, findings, table };
const NAMES = { graph: "Network", field: "Field view", findings: "Findings", table: "Table of layers" };

/** Chooses in `to` what is chosen in `from`, where a layer of that name exists. */
function follow(from, to) {
  const { page, layer, unit } = from.state;
  const other = to.state.page;
  if (!page || !other || layer === null) return;
  const same = other.byName.get(page.layers[layer].name);
  if (!same) return;
  const place = likewise(page.layers[layer], same, unit);
  const now = to.state;
  if (now.layer === same.number && place?.every((u, d) => u === now.unit[d])) return;
  to.choose(same.number, place);
}

/** Mounts the second column beside the first, once; gives its app and what shows and hides it. */
export function second(app) {
  const store = new Store({ ...START, marks: app.store.state.marks });
  const other = { ...app, store, actions: undefined, second: true };
  const main = document.getElementById("main");
  const sections = {};
  for (const [name, view] of Object.entries(VIEWS)) {
    const first = document.getElementById(name);
    sections[name] = h("section", {
      id: `${name}-b`,
      class: [name, "second", first.className].filter(Boolean).join(" "),
      "aria-label": `${NAMES[name]}, network B`,
      tabindex: name === "field" ? "-1" : null,
    });
    first.after(sections[name]);
    view.mount(sections[name], other);
  }
  let following = false;
  const along = (from, to) => () => {
    if (following || !app.store.state.compare) return;
    following = true;
    try {
      follow(from, to);
    } finally {
      following = false;
    }
  };
  app.store.on(["layer", "unit"], along(app.store, store));
  store.on(["layer", "unit"], along(store, app.store));
  for (const [from, to] of [[app.store, store], [store, app.store]]) {
    from.on(["marks", "image"], ({ marks, image }) => to.set({ marks, image }));
  }
  store.on(["page"], ({ page }) => {
    if (main.dataset.compare) app.store.set({ compare: page });
  });
  return {
    app: other,
    sections,
    /** `follows`: whether this network's layer and unit become those that are chosen in the first. */
    show(shown, follows = false) {
      if (shown) main.dataset.compare = "true";
      else delete main.dataset.compare;
      for (const section of Object.values(sections)) section.hidden = !shown;
      app.store.set({ compare: shown ? store.state.page : null });
      if (shown && follows) along(app.store, store)();
    },
  };
}
