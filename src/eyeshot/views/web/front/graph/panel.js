// The panel around the picture: the search, the buttons, and where the picture scrolls.

import { h, s } from "../dom.js";

function button(text, name, act) {
  return h(
    "button",
    { type: "button", class: "button small", title: name, "aria-label": name, onclick: act },
    text,
  );
}

/**
 * The elements {panel, scroll, svg, input, hits, zoomed}; `acts` says what is called for what a person does.
 */
export function panel(acts) {
  const input = h("input", {
    type: "search",
    class: "graph-search",
    placeholder: "Find a layer",
    "aria-label": "Find a layer",
    autocomplete: "off",
    spellcheck: "false",
    maxlength: 200,
    oninput: acts.search,
    onkeydown: acts.searchKey,
  });
  const hits = h("span", { class: "graph-hits", role: "status" });
  const zoomed = h("span", { class: "graph-zoom", "aria-hidden": "true" });
  const tools = h(
    "div",
    { class: "tools graph-tools", role: "group", "aria-label": "The picture of the network" },
    button("Open a level", "Open a level of all modules that are shown", acts.openLevel),
    button("Close all", "Close all modules", acts.closeAll),
    h("span", { class: "graph-space" }),
    button("−", "Smaller", acts.smaller),
    zoomed,
    button("+", "Larger", acts.larger),
    button("Fit", "Fit the network into the panel", acts.fit),
  );
  const svg = s("svg", {
    class: "graph-svg",
    role: "tree",
    "aria-label": "Layers of the network",
    ...acts.svg,
  });
  const scroll = h("div", { class: "graph-scroll scroll" }, svg);
  const find = h("div", { class: "graph-find" }, input, hits);
  const top = h("div", { class: "panel-head graph-top" }, h("h2", { text: "Network" }), find, tools);
  return { panel: h("div", { class: "panel graph-panel" }, top, scroll), scroll, svg, input, hits, zoomed };
}
