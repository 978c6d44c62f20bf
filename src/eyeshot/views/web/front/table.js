// The table: one row per layer, to sort, to search, to choose from and to take along.

import { fresh, h } from "./dom.js";
import { findingsOf, worst } from "./findingsof.js";
import { nextFrame } from "./frames.js";
import { item, menu } from "./menu.js";
import { search, sorted } from "./table/order.js";
import { copied, download, fileName } from "./table/save.js";
import { cells, csv, HEADINGS, markdown, notes } from "./table/texts.js";
import { clamp } from "./scales.js";

/** Rows that a browser lays out at once; those out of sight cost nothing, and are still found and read. */
const CHUNK = 64;
const DIRECTIONS = ["none", "ascending", "descending"];
const TITLES = {
  layer: "By name",
  op: "By operator",
  n: "By the number of units",
  size: "By the size of the receptive field",
  jump: "By the jump, the effective stride",
  start: "By the first unit's centre",
  padding: "By the effective padding",
};
const FILTERS = [
  { key: "global", label: "global", test: (layer) => layer.global },
  { key: "bound", label: "≤ bound", test: (layer) => layer.bound },
  { key: "wide", label: "wider than the input", test: (layer) => layer.fields.some((field) => field.passes) },
  { key: "found", label: "with findings", test: (layer, findings) => findings.has(layer.name) },
];

/** Mounts the table of layers. */
export function mount(element, app) {
  const { store } = app;
  const id = fresh("table");
  let rows = [];
  let shown = [];
  let order = { column: "layer", direction: "none" };
  const wanted = new Set();
  let findings = new Map();
  // What this table chose itself need not be scrolled to.
  let own = false;
  const see = nextFrame(() => reveal(store.state.layer));

  const find = h("input", {
    type: "search",
    placeholder: "name, op or glob: *.conv?",
    "aria-label": "Find layers by name or operator; * ? [ ] make a glob",
    spellcheck: "false",
    autocomplete: "off",
    oninput: () => arrange(),
  });
  const tally = h("span", { class: "muted small numbers", role: "status" });
  const chips = h("div", { class: "table-chips", role: "group", "aria-label": "Show only layers that are" });
  const told = h("span", { class: "muted small", role: "status" });
  const copy = menu(
    "Copy",
    [item("Copy as CSV", () => take("CSV")), item("Copy as Markdown", () => take("Markdown"))],
    { title: "Copy the rows shown" },
  );
  const save = h(
    "button",
    {
      type: "button",
      class: "button",
      onclick: () =>
        download(fileName([store.state.page.title, "layers"], "csv"), csv(layers()), "text/csv;charset=utf-8"),
    },
    "Download CSV",
  );
  const heads = HEADINGS.map((column, k) => head(column, k));
  const header = h("thead", { role: "rowgroup" }, h("tr", { role: "row", "aria-rowindex": 1 }, heads));
  const table = h(
    "table",
    {
      id,
      role: "grid",
      class: "layers",
      "aria-label": "Layers",
      "aria-colcount": HEADINGS.length,
      onkeydown: keys,
    },
    header,
  );
  const frame = h("div", { class: "scroll table-frame" }, table);
  const empty = h("p", { class: "empty", hidden: true });
  const remarks = h("ul", { class: "table-remarks small muted" });
  const panel = h(
    "div",
    { class: "panel table-panel" },
    h(
      "div",
      { class: "panel-head" },
      h("h2", { text: "Layers" }),
      tally,
      h("div", { class: "tools" }, told, find, copy, save),
    ),
    h("div", { class: "tools table-filters" }, chips),
    frame,
    empty,
    remarks,
  );
  element.append(panel);
  app.keys?.push({ where: "Table", keys: ["↑", "↓"], text: "to the next layer" });

  function head(column, k) {
    const button = h("button", { type: "button", title: TITLES[column], onclick: () => turn(column) }, column);
    return h(
      "th",
      {
        role: "columnheader",
        scope: "col",
        "aria-colindex": k + 1,
        "aria-sort": "none",
        "data-column": column,
      },
      button,
    );
  }

  function turn(column) {
    const before = order.column === column ? order.direction : "none";
    order = { column, direction: DIRECTIONS[(DIRECTIONS.indexOf(before) + 1) % DIRECTIONS.length] };
    for (const cell of heads) {
      cell.setAttribute("aria-sort", cell.dataset.column === column ? order.direction : "none");
    }
    arrange();
    app.say(order.direction === "none" ? "In the order in which they run" : `By ${column}, ${order.direction}`);
  }

  /** The layers shown, as shown. */
  const layers = () => shown.map((number) => store.state.page.layers[number]);

  async function take(kind) {
    const text = kind === "CSV" ? csv(layers()) : markdown(store.state.page, layers());
    const done = await copied(text);
    told.textContent = done
      ? `${shown.length} ${shown.length === 1 ? "row" : "rows"} copied as ${kind}`
      : "The browser refused to copy";
  }

  /** All rows anew: another network is shown. */
  function fill({ page }) {
    panel.hidden = !page;
    if (!page) return;
    findings = findingsOf(page);
    const passing = passes(page);
    rows = page.layers.map((layer) => row(layer, passing.get(layer)));
    table.setAttribute("aria-rowcount", rows.length + 1);
    const filters = FILTERS.map((filter) => ({
      ...filter,
      size: page.layers.filter((layer) => filter.test(layer, findings)).length,
    }));
    for (const { key, size } of filters) if (!size) wanted.delete(key);
    chips.replaceChildren(...filters.filter(({ size }) => size).map(chip));
    chips.parentElement.hidden = !chips.childElementCount;
    told.textContent = "";
    arrange();
  }

  function chip({ key, label, size }) {
    const press = (event) => {
      if (!wanted.delete(key)) wanted.add(key);
      event.currentTarget.setAttribute("aria-pressed", wanted.has(key));
      arrange();
    };
    return h(
      "button",
      {
        type: "button",
        class: "button small",
        "aria-pressed": wanted.has(key) ? "true" : "false",
        onclick: press,
      },
      `${label} `,
      h("span", { class: "muted numbers", text: String(size) }),
    );
  }

  function row(layer, passing) {
    const texts = cells(layer);
    const line = h("tr", { role: "row", tabindex: -1, "data-number": layer.number, "aria-selected": "false" });
    line.append(name(layer, passing));
    texts.forEach((text, k) => {
      if (!k) return;
      const cell = h(
        "td",
        {
          role: "gridcell",
          "aria-colindex": k + 1,
          "data-column": HEADINGS[k],
          title: text.length > 12 ? text : null,
        },
        text,
      );
      line.append(cell);
    });
    return line;
  }

  /** The name, its last part never the first to go, and what there is to say of the layer. */
  function name(layer, passing) {
    const cut = Math.max(layer.name.lastIndexOf("."), layer.name.lastIndexOf("/")) + 1;
    const about = findings.get(layer.name);
    const severity = worst(about);
    return h(
      "td",
      { role: "gridcell", "aria-colindex": 1, "data-column": "layer" },
      h(
        "span",
        { class: "table-name mono", title: layer.name },
        h("span", { class: "path", text: layer.name.slice(0, cut) }),
        h("span", { class: "leaf", text: layer.name.slice(cut) }),
      ),
      passing &&
        h("span", {
          class: "badge accent",
          title: "The first layer whose field is wider than the input",
          text: passing,
        }),
      severity &&
        h("span", {
          class: `badge ${severity}`,
          title: about.map((one) => one.message).join("\n"),
          text: about.length === 1 ? severity : `${about.length} findings`,
        }),
    );
  }

  /** The rows that are asked for, in the order that is asked for. */
  function arrange() {
    const { page } = store.state;
    if (!page) return;
    const test = search(find.value);
    const filters = FILTERS.filter(({ key }) => wanted.has(key));
    const found = page.layers.filter(
      (layer) => test(layer) && filters.every((filter) => filter.test(layer, findings)),
    );
    shown = sorted(found, order.column, order.direction).map((layer) => layer.number);
    const bodies = [];
    for (let k = 0; k < shown.length; k += CHUNK) {
      const part = shown.slice(k, k + CHUNK);
      part.forEach((number, i) => rows[number].setAttribute("aria-rowindex", k + i + 2));
      const body = h("tbody", { role: "rowgroup" }, part.map((number) => rows[number]));
      body.style.setProperty("--rows", part.length);
      bodies.push(body);
    }
    table.replaceChildren(header, ...bodies);
    table.setAttribute("aria-rowcount", shown.length + 1);
    const all = page.layers.length;
    tally.textContent =
      shown.length === all ? `${all} ${all === 1 ? "layer" : "layers"}` : `${shown.length} of ${all} layers`;
    empty.hidden = shown.length > 0;
    const asked = find.value.trim();
    const whole = /[*?[]/.test(asked) ? " A pattern has to match the whole name." : "";
    empty.textContent = asked
      ? `No layer here matches “${asked.slice(0, 60)}”.${whole}`
      : "No layer is like that.";
    frame.hidden = !shown.length;
    remarks.replaceChildren(...notes(page, layers()).map((text) => h("li", { text })));
    mark(store.state);
    frame.scrollTop = 0;
    reveal(store.state.layer);
  }

  let marked = { chosen: null, pointed: null, stop: null };

  function mark({ layer, pointed }) {
    const [chosen, over] = [rows[layer], rows[pointed]];
    marked.chosen?.setAttribute("aria-selected", "false");
    marked.pointed?.classList.remove("pointed");
    marked.stop?.setAttribute("tabindex", "-1");
    chosen?.setAttribute("aria-selected", "true");
    over?.classList.add("pointed");
    // One row is a stop of the tab key: the chosen one, or the first.
    const stop = chosen?.isConnected ? chosen : rows[shown[0]];
    stop?.setAttribute("tabindex", "0");
    marked = { chosen, pointed: over, stop };
  }

  /** Moves the table's own view, and never the page, so that a row is seen. */
  function reveal(number) {
    const line = rows[number];
    if (!line?.isConnected || frame.scrollHeight <= frame.clientHeight) return;
    const [inner, outer] = [line.getBoundingClientRect(), frame.getBoundingClientRect()];
    const top = outer.top + header.offsetHeight;
    if (inner.top < top) frame.scrollTop -= top - inner.top + inner.height * 2;
    else if (inner.bottom > outer.bottom) frame.scrollTop += inner.bottom - outer.bottom + inner.height * 2;
  }

  function choose(number, focus) {
    own = true;
    store.choose(number);
    own = false;
    if (focus) {
      rows[number].focus({ preventScroll: true });
      reveal(number);
    }
  }

  const numberOf = (event) => {
    const line = event.target.closest?.("tr[data-number]");
    return line && table.contains(line) ? Number(line.dataset.number) : null;
  };

  function keys(event) {
    const number = numberOf(event);
    if (number === null || event.altKey || event.ctrlKey || event.metaKey) return;
    const at = shown.indexOf(number);
    const page = Math.max(1, Math.floor(frame.clientHeight / rows[number].offsetHeight) - 2);
    const to = {
      ArrowDown: at + 1,
      ArrowUp: at - 1,
      PageDown: at + page,
      PageUp: at - page,
      Home: 0,
      End: shown.length - 1,
      Enter: at,
      " ": at,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = shown[clamp(to, 0, shown.length - 1)];
    choose(next, true);
    app.say(store.state.page.layers[next].name);
  }

  table.addEventListener("click", (event) => {
    const number = numberOf(event);
    if (number === null) return;
    // Who selects text to copy does not mean to choose.
    if (String(getSelection())) return;
    choose(number, true);
  });
  table.addEventListener("pointerover", (event) => {
    const number = numberOf(event);
    if (event.pointerType !== "touch") store.set({ pointed: number });
  });
  table.addEventListener("pointerleave", () => store.set({ pointed: null }));

  store.on(["page", "findings"], fill);
  store.on(["layer", "pointed"], (state, changed) => {
    if (changed.has("page")) return;
    mark(state);
    if (!changed.has("layer") || own) return;
    // With the frame, when other views have changed the page too: its layout is made once.
    see();
  });
  fill(store.state);
}

/** A Map from layers to what they are the first to pass: "passes 224". */
function passes(page) {
  const found = new Map();
  page.inputs.forEach((input, source) => {
    for (const axis of input.axes) {
      const layer = page.crossing(source, axis);
      if (!layer) continue;
      if (!found.has(layer)) found.set(layer, []);
      found.get(layer).push({ input: input.name, axis, length: input.shape[axis] });
    }
  });
  const axes = (one) => page.inputs.find(({ name }) => name === one.input).axes.length;
  return new Map(
    [...found].map(([layer, passed]) => {
      const whole = passed.length === axes(passed[0]) && new Set(passed.map((one) => one.input)).size === 1;
      const lengths = new Set(passed.map((one) => one.length));
      if (whole && lengths.size === 1) return [layer, `passes ${passed[0].length}`];
      if (whole) return [layer, `passes ${passed.map((one) => one.length).join("×")}`];
      const of = page.inputs.length > 1 ? (one) => `${one.input} ` : () => "";
      const each = passed.map((one) => `${one.length} (${of(one)}axis ${one.axis})`);
      return [layer, `passes ${each.join(", ")}`];
    }),
  );
}
