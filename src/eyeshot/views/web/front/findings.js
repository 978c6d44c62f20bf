// What `eyeshot check` found, most serious first, each with what it costs and what to do.

import { h, nameButton } from "./dom.js";
import { SEVERITIES } from "./findingsof.js";
import { drawn } from "./icons.js";
import { number } from "./words.js";

const LAYERS = 4;
const SHOWN = 25;

/** Mounts the view. */
export function mount(element, app) {
  const tools = h("div", { class: "tools", role: "group", "aria-label": "Which findings are shown" });
  const body = h("div", {});
  const heading = h("h2", { text: "Findings" });
  element.append(
    h("div", { class: "panel findings" }, h("div", { class: "panel-head" }, heading, tools), body),
  );
  let hidden = new Set();
  let all = false;

  const draw = () => {
    const { page } = app.store.state;
    element.hidden = !page;
    if (!page) return;
    const found = page.findings;
    heading.textContent = page.stale ? "Findings of the version before" : "Findings";
    tools.replaceChildren(...(found?.length ? filters(found) : []));
    if (!found && page.checking) {
      body.replaceChildren(h("p", { class: "empty", text: "Checking…" }));
      return;
    }
    if (!found) {
      body.replaceChildren(
        h(
          "p",
          { class: "empty" },
          "Not checked. ",
          h("code", { text: "eyeshot check" }),
          " looks for what a network loses, and why.",
        ),
      );
      return;
    }
    if (!found.length) {
      body.replaceChildren(h("p", { class: "empty" }, "Checked: nothing found."), small(page));
      return;
    }
    const wanted = found.filter((finding) => !hidden.has(finding.severity));
    const shown = all ? wanted : wanted.slice(0, SHOWN);
    body.replaceChildren(
      h("ul", { class: "finding-list" }, shown.map((finding) => card(finding, app))),
      wanted.length ? "" : h("p", { class: "empty", text: "All findings are hidden by the filter." }),
      shown.length < wanted.length
        ? h(
            "button",
            { type: "button", class: "button", onclick: () => ((all = true), draw()) },
            `Show all ${wanted.length} findings`,
          )
        : "",
      small(page),
    );
    mark();
  };

  const filters = (found) =>
    Object.entries(SEVERITIES).map(([severity, word]) => {
      const count = found.filter((finding) => finding.severity === severity).length;
      const text = `${count} ${word.toLowerCase()}${count === 1 ? "" : "s"}`;
      const button = h(
        "button",
        { type: "button", class: `button small ${severity}`, "aria-pressed": String(!hidden.has(severity)) },
        drawn(severity),
        text,
      );
      button.disabled = !count;
      button.addEventListener("click", () => {
        hidden = new Set(hidden);
        if (!hidden.delete(severity)) hidden.add(severity);
        draw();
        tools.querySelector(`.${severity}`).focus();
      });
      return button;
    });

  const mark = () => {
    const { page, layer } = app.store.state;
    const chosen = page?.layers[layer]?.name;
    for (const one of body.querySelectorAll("li.finding")) {
      let here = false;
      for (const button of one.querySelectorAll("button.name")) {
        const same = button.dataset.name === chosen;
        button.setAttribute("aria-current", String(same));
        here ||= same;
      }
      one.classList.toggle("here", here || one.concerns.has(chosen));
    }
  };

  app.store.on(["page", "findings"], () => {
    all = false;
    hidden = new Set();
    draw();
  });
  app.store.on(["layer"], mark);
  draw();
}

function card(finding, app) {
  const { severity, code, status, message, cost, remedy } = finding;
  const names = [...new Set(finding.layers)];
  const layers = h("div", { class: "finding-layers" });
  const show = (count) => {
    const rest = names.length - count;
    layers.replaceChildren(
      ...names.slice(0, count).map((name) => layerButton(name, app)),
      rest > 0
        ? h(
            "button",
            { type: "button", class: "button quiet small", onclick: () => show(names.length) },
            `and ${rest} more`,
          )
        : "",
    );
  };
  // One more than would be left over alone is shown at once.
  show(names.length <= LAYERS + 1 ? names.length : LAYERS);
  const more = h(
    "dl",
    {},
    cost ? [h("dt", { text: "Cost" }), h("dd", { text: cost })] : null,
    remedy ? [h("dt", { text: "Remedy" }), h("dd", { text: remedy })] : null,
    names.length
      ? [h("dt", { text: names.length === 1 ? "Layer" : `${names.length} layers` }), h("dd", {}, layers)]
      : null,
  );
  const item = h(
    "li",
    { class: `finding ${severity}` },
    h(
      "div",
      { class: "finding-head" },
      h("span", { class: `badge ${severity}` }, drawn(severity), SEVERITIES[severity]),
      h("code", { class: "code", text: code }),
      status === "possible"
        ? h("span", { class: "badge", title: "A layer concerned is known only as an upper bound." }, "possible")
        : null,
      h("span", { class: "chosen-mark", text: "chosen layer" }),
    ),
    h("p", { class: "message", text: message }),
    more,
  );
  item.concerns = new Set(names);
  return item;
}

function layerButton(name, app) {
  const choose = () => {
    const layer = app.store.state.page.byName.get(name);
    if (layer) app.store.choose(layer.number);
  };
  return nameButton(name, choose, { "data-name": name });
}

/** What else the check says: input sizes that work, and what could not be looked for. */
function small(page) {
  const { input_range: ranges = [], skipped = [], looked = [] } = page.content.findings ?? {};
  const told = sentences(ranges);
  return h(
    "div",
    { class: "findings-small muted small" },
    told.map((text) => h("p", { text })),
    looked.length
      ? h(
          "details",
          {},
          h("summary", {
            text:
              `Looked for ${looked.length} ` +
              `things${skipped.length ? `, could not look for ${skipped.length}` : ""}`,
          }),
          h("p", {}, h("code", { text: looked.join(", ") })),
          skipped.map(({ code, reason }) =>
            h("p", {}, h("code", { text: code }), `: not looked for. ${reason}`),
          ),
        )
      : null,
  );
}

/**
 * At which input sizes every layer adds something, and up to which a unit sees all; axes of which the same is
 * true together.
 */
function sentences(ranges) {
  const groups = new Map();
  for (const { input, axis, size, smallest, largest } of ranges) {
    const same = JSON.stringify([input, size, smallest, largest]);
    if (groups.has(same)) groups.get(same).axes.push(axis);
    else groups.set(same, { input, size, smallest, largest, axes: [axis] });
  }
  const several = new Set(ranges.map((one) => one.input)).size > 1;
  return [...groups.values()].flatMap(({ input, size, smallest, largest, axes }) => {
    const told = [];
    if (smallest !== null && smallest > 1) {
      told.push(`every layer is productive at input sizes from ${number(smallest)} on`);
    }
    if (largest !== null) told.push(`some unit sees the whole input up to size ${number(largest)}`);
    if (!told.length) return [];
    const where = `${several ? `${input}, ` : ""}${axes.length > 1 ? "axes" : "axis"} ${axes.join(" and ")}`;
    const text = `${told.join("; ")} (${where}; here ${size}).`;
    return [text[0].toUpperCase() + text.slice(1)];
  });
}
