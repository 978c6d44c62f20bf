// The head of the page: whose fields these are, how sure they are, and what concerns the page as a whole.

import { dialog } from "./dialog.js";
import { h, nameButton } from "./dom.js";
import { drawn, mark } from "./icons.js";
import { menu } from "./menu.js";
import { shape } from "./words.js";

const PARTS = {
  facts: "Summary",
  graph: "Network",
  field: "Field",
  growth: "Growth",
  findings: "Findings",
  table: "Table",
};
const THEME = "eyeshot.theme";

/** Mounts the view; the element for other views' buttons and menus becomes `app.actions`. */
export function mount(element, app) {
  const title = h("h1", { class: "ellipsis" });
  const about = h("div", { class: "about" });
  app.actions = h("div", { class: "actions" });
  const keys = h("button", { type: "button", class: "button quiet", onclick: () => explainKeys(app) }, "Keys");
  const parts = h("nav", { class: "parts", "aria-label": "Parts of this page" });
  const bar = h(
    "div",
    { class: "bar" },
    h("span", { class: "product" }, mark(), h("span", { text: "eyeshot" })),
    title,
    about,
    h("div", { class: "acts" }, app.actions, themes(), keys),
  );
  element.append(bar, parts);
  const draw = () => {
    const { page, compare } = app.store.state;
    const text = page ? page.called : "";
    title.textContent = compare ? `${text} and ${compare.called}` : text;
    title.title = title.textContent;
    about.replaceChildren(...(page ? [description(page, app)] : []));
  };
  app.store.on(["page", "compare"], draw);
  draw();
  list(parts);
  measured(element, bar, parts);
}

/** Keeps --head, what the head covers of the window, and --bar, its part that scrolls away on a phone. */
function measured(element, bar, parts) {
  const root = document.documentElement;
  const measure = () => {
    const narrow = parts.offsetHeight > 0;
    root.style.setProperty("--bar", `${narrow ? bar.offsetHeight : 0}px`);
    root.style.setProperty("--head", `${narrow ? parts.offsetHeight : element.offsetHeight}px`);
  };
  new ResizeObserver(measure).observe(element);
}

/** Links to the parts of the page that have something in them; seen on narrow screens. */
function list(parts) {
  const links = Object.entries(PARTS).map(([id, text]) => h("a", { href: `#${id}` }, text));
  parts.append(...links);
  const show = () => {
    for (const link of links) {
      link.hidden = !document.getElementById(link.getAttribute("href").slice(1))?.childElementCount;
    }
  };
  const watch = new MutationObserver(show);
  for (const id of Object.keys(PARTS)) {
    const section = document.getElementById(id);
    if (section) watch.observe(section, { childList: true });
  }
  show();
}

/** What stands behind the title: input, number of layers and status, in full in a menu. */
function description(page, app) {
  const status = h("span", { class: `badge ${page.status}` }, drawn(page.status), page.status);
  const sizes = page.inputs.map((input) => shape(input.shape)).join(", ");
  const summary = [
    h("span", { class: "input ellipsis numbers", text: sizes }),
    h("span", { class: "count numbers", text: `${page.layers.length} layers` }),
    status,
  ];
  const element = menu(summary, [details(page, app)], { title: "About this network", start: true });
  element.classList.add("stays");
  return element;
}

function details(page, app) {
  const row = (word, ...children) => h("div", {}, h("dt", { text: word }), h("dd", {}, children));
  return h(
    "div",
    { class: "network" },
    h(
      "dl",
      {},
      row("Network", h("span", { class: "whole", text: page.title || "without a name" })),
      page.inputs.map((input, k) =>
        row(
          page.inputs.length > 1 ? `Input ${k + 1}` : "Input",
          h("code", { class: "whole", text: input.name }),
          h("span", { class: "numbers", text: ` ${shape(input.shape)}` }),
          h("p", { class: "muted", text: along(input) }),
        ),
      ),
      row("Layers", String(page.layers.length)),
      row("Status", h("b", { text: page.status }), h("p", { text: meaning(page) })),
    ),
    page.diagnostics.length ? diagnostics(page, app) : null,
  );
}

function along({ axes }) {
  if (!axes.length) return "No axis that fields run along.";
  return `Fields run along ${axes.length > 1 ? "axes" : "axis"} ${axes.join(" and ")}.`;
}

function meaning(page) {
  if (page.status === "exact") return "Every number on this page is exact for this network and this input.";
  const count = page.layers.filter((layer) => layer.bound).length;
  const layers = count === 1 ? "The field of 1 layer is" : `The fields of ${count} layers are`;
  return `${layers} an upper bound, marked ≤: the true one may be smaller, never larger. All others are exact.`;
}

const SHOWN = 20;

function diagnostics(page, app) {
  const entry = ({ message, layer }) => {
    const found = page.byName.get(layer);
    const go = found && nameButton(layer, () => app.store.choose(found.number));
    return h("li", {}, h("p", { text: message }), go);
  };
  const rest = page.diagnostics.length - SHOWN;
  return h(
    "div",
    {},
    h("h3", {
      text: page.diagnostics.length === 1 ? "1 diagnostic" : `${page.diagnostics.length} diagnostics`,
    }),
    h("ul", { class: "diagnostics" }, page.diagnostics.slice(0, SHOWN).map(entry)),
    rest > 0 ? h("p", { class: "muted", text: `and ${rest} more` }) : null,
  );
}

/** The choice of a theme. A page from a file may not be allowed to remember it. */
function themes() {
  const root = document.documentElement;
  const choose = (theme) => {
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
  };
  const select = h(
    "select",
    {
      "aria-label": "Theme",
      class: "theme",
      onchange: () => {
        choose(select.value);
        try {
          localStorage.setItem(THEME, select.value);
        } catch {
          // Chosen for as long as the page is open.
        }
      },
    },
    ["System", "Light", "Dark"].map((name) => h("option", { value: name.toLowerCase(), text: name })),
  );
  let kept = null;
  try {
    kept = localStorage.getItem(THEME);
  } catch {
    // Not to be had.
  }
  if (kept === "light" || kept === "dark") {
    select.value = kept;
    choose(kept);
  }
  return select;
}

const OWN_KEYS = [
  { where: "Everywhere", keys: ["Tab"], text: "to the next control; Shift + Tab goes back" },
  { where: "Everywhere", keys: ["Esc"], text: "closes menus and dialogs" },
];

/** A dialog of what keys do, as the views have told. */
function explainKeys(app) {
  const places = new Map();
  for (const entry of [...app.keys, ...OWN_KEYS]) {
    if (!places.has(entry.where)) places.set(entry.where, []);
    const told = places.get(entry.where);
    // A view that is mounted twice tells its keys twice.
    if (!told.some((one) => one.text === entry.text)) told.push(entry);
  }
  const row = ({ keys, text }) =>
    h(
      "div",
      {},
      h(
        "dt",
        {},
        keys.flatMap((key, k) => [k ? " " : null, h("kbd", { text: key })]),
      ),
      h("dd", { text }),
    );
  const children = [...places].flatMap(([where, entries]) => [
    h("h3", { text: where }),
    h("dl", { class: "key-list" }, entries.map(row)),
  ]);
  dialog("Keys", children).open();
}
