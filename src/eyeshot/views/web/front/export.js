// The menu "Export": the views as pictures, the table, and the report's own data.

import { h } from "./dom.js";
import { asPng, asText, drawable, picture } from "./export/picture.js";
import { item, menu } from "./menu.js";
import { download, fileName } from "./table/save.js";
import { csv, markdown } from "./table/texts.js";

/** What can be saved as a picture; a graph that is shown small is saved at its own size. */
const PICTURES = [
  { id: "field", label: "Field view", of: true },
  { id: "graph", label: "Network", natural: true },
  { id: "growth", label: "Growth", also: ".growth-legend, .growth-crossing" },
];

/** Mounts the menu in the head of the page; it has no element of its own. */
export function mount(element, app) {
  const { store } = app;
  if (!app.actions) return;
  const light = h("input", { type: "checkbox", checked: true });
  const said = h("p", { class: "muted small", role: "status", hidden: true });
  // Of two networks: which one.
  let second = false;
  const letters = ["A", "B"].map((letter) => {
    const about = {
      "data-stay": true,
      "aria-label": `Network ${letter}`,
      onclick: () => choose(letter === "B"),
    };
    return h("button", { type: "button", class: "button small", ...about }, letter);
  });
  const both = h("div", { class: "segments" }, letters);
  const which = h("div", { class: "item export-row" }, h("span", { text: "Of network" }), both);
  const state = () => (second ? app.other : app).store.state;
  /** The section of a view; the growth of both is one picture. */
  const section = ({ id }) => document.getElementById(second && id !== "growth" ? `${id}-b` : id);
  const kinds = PICTURES.map((view) => {
    const button = (kind) =>
      h(
        "button",
        {
          type: "button",
          class: "button small",
          "data-stay": true,
          "aria-label": `${view.label} as ${kind}`,
          onclick: () => save(view, kind),
        },
        kind,
      );
    return {
      view,
      row: h(
        "div",
        { class: "item export-row" },
        h("span", { text: view.label }),
        button("SVG"),
        button("PNG"),
      ),
    };
  });
  const list = menu("Export", [
    which,
    h("p", { class: "muted", text: "Pictures" }),
    ...kinds.map(({ row }) => row),
    h("label", { class: "item check" }, light, "In light colours"),
    said,
    h("p", { class: "muted", text: "Table and data" }),
    item("Table as CSV", () => keep("layers", "csv", csv(state().page.layers), "text/csv;charset=utf-8")),
    item("Table as Markdown", () =>
      keep("layers", "md", markdown(state().page, state().page.layers), "text/markdown;charset=utf-8"),
    ),
    item("Data (JSON)", () =>
      keep("report", "json", `${JSON.stringify(state().page.content.report)}\n`, "application/json"),
    ),
  ]);
  list.classList.add("export");
  list.addEventListener("toggle", () => {
    if (!list.open) return;
    which.hidden = !store.state.compare;
    choose(second && !which.hidden);
  });
  app.actions.append(list);
  /** For the live page: what it can save besides, and whether the second network is to be saved. */
  app.exports = { add: (entries) => which.after(...entries), second: () => second };

  function choose(b) {
    second = b;
    letters.forEach((button, k) => button.setAttribute("aria-pressed", String(Boolean(k) === b)));
    say("");
    for (const { view, row } of kinds) {
      const there = drawable(section(view));
      for (const button of row.querySelectorAll("button")) button.disabled = !there;
    }
  }

  function say(text) {
    said.textContent = text;
    said.hidden = !text;
  }

  function keep(what, ending, text, type) {
    download(fileName([state().page.title, what], ending), text, type);
  }

  async function save(view, kind) {
    const { page, layer, unit } = state();
    const name = page.layers[layer]?.name ?? "";
    const at = view.of && unit?.length ? `unit (${unit.join(", ")})` : null;
    const title = [page.title, view.of ? name : null, at].filter(Boolean).join(" · ");
    const parts = [page.title, ...(view.of ? [name, unit?.join("-")] : [view.label.toLowerCase()])];
    try {
      const made = await picture(section(view), {
        title,
        light: light.checked,
        natural: view.natural,
        also: view.also,
      });
      if (!made) throw new Error("nothing is drawn there");
      if (kind === "SVG") {
        download(fileName(parts, "svg"), asText(made.svg), "image/svg+xml");
        say(`${view.label} saved as SVG`);
      } else {
        const { blob, scale } = await asPng(made);
        download(fileName(parts, "png"), blob);
        say(
          scale < 1
            ? `${view.label} saved as PNG, at ${Math.round(scale * 100)} % of its size`
            : `${view.label} saved as PNG`,
        );
      }
    } catch (error) {
      say(`${view.label} can't be saved: ${error.message}`);
    }
  }
}
