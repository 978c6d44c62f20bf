// The summary: where the field passes the input's size, how large it grows, how far units lie apart at the end.

import { h, nameButton } from "./dom.js";
import { DASH, number, perAxis } from "./words.js";

/** What a layer's units read along an axis by themselves; a pooled layer has context alone. */
const local = (field) => field.dim !== null || !field.global;

const wide = (field) => (field.size === null ? Infinity : field.size);

/** Along one axis of an input: {length, crossing, largest, size, global}; layers or null. */
function along(page, source, axis) {
  const found = {
    axis,
    length: page.inputs[source].shape[axis],
    crossing: null,
    largest: null,
    size: 0,
    bound: false,
    global: null,
  };
  for (const layer of page.layers) {
    for (const field of layer.fields) {
      if (field.source !== source || field.axis !== axis) continue;
      if (field.global && !found.global) found.global = layer;
      if (!local(field)) continue;
      if (field.passes && !found.crossing) found.crossing = layer;
      if (wide(field) > found.size) {
        Object.assign(found, { largest: layer, size: wide(field), bound: field.status === "bound" });
      }
    }
  }
  return found;
}

/** The facts of one input, axes of which the same is true told together: [{axes, …}]. */
export function summary(page, source) {
  const groups = new Map();
  for (const axis of page.inputs[source].axes) {
    const found = along(page, source, axis);
    const same = JSON.stringify([
      found.length,
      found.crossing?.number,
      found.largest?.number,
      String(found.size),
      found.global?.number,
    ]);
    if (groups.has(same)) groups.get(same).axes.push(axis);
    else groups.set(same, { ...found, axes: [axis] });
  }
  return [...groups.values()];
}

/** The last layer whose units are told apart along input `source`, and its jumps. */
function lastMap(page, source) {
  for (const layer of [...page.layers].reverse()) {
    const fields = layer.on(source);
    if (fields.some((field) => field.jump !== null)) {
      return { layer, jumps: fields.map((field) => number(field.jump)) };
    }
  }
  return null;
}

/** "axis 2 (rows)", as the field view and the findings call it. */
function axisName({ axes }, axis) {
  const words = { 2: ["rows", "columns"], 3: ["z", "y", "x"] }[axes.length];
  return words ? `axis ${axis} (${words[axes.indexOf(axis)]})` : `axis ${axis}`;
}

/** Mounts the view. */
export function mount(element, app) {
  const panel = h("div", { class: "panel facts" });
  element.append(panel);
  const draw = () => {
    const { page, compare } = app.store.state;
    element.hidden = !page;
    if (!page) return;
    panel.classList.toggle("two", compare !== null);
    panel.replaceChildren(
      h("h2", { class: "unseen", text: "Summary" }),
      column(page, app, compare ? "A" : null, true),
      ...(compare ? [column(compare, app, "B", false)] : []),
    );
    mark();
  };
  const mark = () => {
    const { layer } = app.store.state;
    for (const button of panel.querySelectorAll("button.name")) {
      button.setAttribute("aria-current", String(button.dataset.layer === String(layer)));
    }
  };
  app.store.on(["page", "compare"], draw);
  app.store.on(["layer"], mark);
  draw();
}

/** All facts of one network. Only layers of the network that is looked at can be chosen. */
function column(page, app, letter, own) {
  const name = (layer) =>
    own
      ? nameButton(layer.name, () => app.store.choose(layer.number), { "data-layer": layer.number })
      : h("span", { class: "mono ellipsis whole", title: layer.name, text: layer.name });
  const place = (layer) =>
    h("span", { class: "place numbers", text: `layer ${layer.number + 1} of ${page.layers.length}` });
  const blocks = page.inputs.map((input, source) => block({ page, input, source, name, place }));
  return h(
    "div",
    { class: "network-facts" },
    letter
      ? h("h3", { class: "ellipsis", title: page.title, text: `${letter}: ${page.called}` })
      : null,
    blocks,
  );
}

function block(about) {
  const { page, input, source } = about;
  const groups = summary(page, source);
  const several = page.inputs.length > 1;
  const last = lastMap(page, source);
  const title = several ? h("h3", {}, "Input ", h("code", { text: input.name })) : null;
  if (!groups.length) {
    return h("div", {}, title, h("p", { class: "headline", text: "Fields run along no axis of this input." }));
  }
  return h(
    "div",
    { class: "input-facts" },
    title,
    groups.map((group) => headline(about, group, groups.length > 1)),
    h("dl", { class: "stats" }, largest(about, groups), jump(about, last), context(about, groups)),
  );
}

/** "The field passes the input's size (224) at layer3.4.conv2, layer 98 of 174." */
function headline({ input, name, place }, group, apart) {
  const axes = group.axes.map((axis) => axisName(input, axis)).join(" and ");
  const begin = apart ? h("span", { class: "axis", text: `Along ${axes}: ` }) : null;
  const measure = h("span", { class: "measure numbers", text: number(group.length) });
  // A comma stays with the name before it.
  const held = (layer) => h("span", { class: "held" }, name(layer), h("span", { text: "," }));
  const line = (...children) => h("p", { class: "headline" }, begin, ...children);
  if (!group.largest && !group.global) {
    return line(`${apart ? "n" : "N"}o layer reads this input (`, measure, ").");
  }
  if (!group.largest) {
    return line(
      `${apart ? "t" : "T"}here is no local field: the input (`,
      measure,
      ") is read whole at ",
      held(group.global),
      " ",
      place(group.global),
      ".",
    );
  }
  // Where context came first, "the field" would be the whole input already.
  const context = group.global && (!group.crossing || group.global.number < group.crossing.number);
  const the = `${apart ? "the" : "The"} ${context ? "local field" : "field"}`;
  if (group.crossing) {
    const passes = group.crossing.bound ? "may pass" : "passes";
    return line(
      `${the} ${passes} the input’s size (`,
      measure,
      ") at ",
      held(group.crossing),
      " ",
      place(group.crossing),
      ".",
    );
  }
  const size = h("b", { class: "numbers", text: `${group.bound ? "≤ " : ""}${number(group.size)}` });
  return line(`${the} never passes the input’s size: the largest is `, size, " of ", measure, ".");
}

function stat(word, value, ...where) {
  return h(
    "div",
    {},
    h("dt", { text: word }),
    h(
      "dd",
      {},
      value === null ? null : h("span", { class: "value numbers", text: value }),
      h("span", { class: "where" }, ...where),
    ),
  );
}

function largest({ page, input, name, place }, groups) {
  const found = groups.filter((group) => group.largest);
  if (!found.length) return stat("Largest field", "–");
  const sizes = input.axes.map((axis) => {
    const group = groups.find((one) => one.axes.includes(axis));
    return group.largest ? `${group.bound ? "≤ " : ""}${number(group.size)}` : DASH;
  });
  const layers = [...new Set(found.map((group) => group.largest))];
  const time = page.rate && sizes.length === 1 ? ` (${number((found[0].size / page.rate) * 1000)} ms)` : "";
  const where = layers.flatMap((layer) => [name(layer), layers.length > 1 ? null : place(layer)]);
  return stat("Largest field", `${perAxis(sizes)}${time}`, where);
}

function jump({ page, name, place }, last) {
  if (!last) return stat("Output’s jump", "–");
  const output = page.outputs.includes(last.layer.number);
  return stat(
    output ? "Output’s jump" : "Last map’s jump",
    perAxis(last.jumps),
    name(last.layer),
    place(last.layer),
  );
}

function context({ input, name, place }, groups) {
  const found = groups.filter((group) => group.global).sort((a, b) => a.global.number - b.global.number);
  const first = found[0]?.global;
  const here = found.filter((group) => group.global === first);
  if (first && here.length < groups.length) {
    const axes = here.flatMap((group) => group.axes).map((axis) => axisName(input, axis)).join(" and ");
    return stat("Reads a whole axis", axes, "from", name(first), place(first));
  }
  if (!first) return stat("Reads the whole input", "never", "no pooling or attention over a whole axis");
  return stat("Reads the whole input", null, "from", name(first), place(first));
}
