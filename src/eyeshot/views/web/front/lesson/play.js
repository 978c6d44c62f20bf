// The last step: both layers' kernel, stride and padding to change, and every number and drawing with them.

import { h } from "../dom.js";
import { hull, number } from "../words.js";
import { reads, stack, within } from "./arithmetic.js";
import { buttons, figure } from "./drawing.js";
import { formula, ledger } from "./formulas.js";
import { centred, reach, seen, told } from "./steps.js";

const RANGES = { k: ["kernel", 1, 5], s: ["stride", 1, 4], p: ["padding", 0, 2] };

/** The step: {drawn, words}. `maps` are those to begin with. */
export function play({ maps: given, say, app }) {
  const first = given.slice(1).map((map) => ({ ...map.layer, name: map.name }));
  let layers = first.map((layer) => ({ ...layer }));
  let maps = given;
  let chosen = { level: 2, at: [0, 0] };
  let grids = [];
  const place = h("div", { class: "figures" });
  const sum = h("p", { class: "lesson-told" });
  const numbers = h("div", { class: "formulas" });
  const inputs = [];

  const sliders = layers.map((layer, level) =>
    h(
      "fieldset",
      { class: "sliders" },
      h("legend", { text: layer.name }),
      Object.entries(RANGES).map(([key, [word, low, high]]) => slider(level, key, word, low, high)),
    ),
  );
  const reset = h(
    "button",
    { type: "button", class: "button", onclick: () => change(first.map((layer) => ({ ...layer }))) },
    "As in the article",
  );
  const leave = (event) => {
    event.currentTarget.closest("dialog").close();
    app.openExample("five-by-five");
  };
  const open =
    app.openExample && h("button", { type: "button", class: "button", onclick: leave }, "Open the example");

  function slider(level, key, word, low, high) {
    const out = h("output", { class: "numbers" });
    const input = h("input", {
      type: "range",
      min: low,
      max: high,
      step: 1,
      "aria-label": `${word} of ${layers[level].name}`,
      oninput: () =>
        change(layers.map((layer, k) => (k === level ? { ...layer, [key]: Number(input.value) } : layer))),
    });
    inputs.push(() => {
      input.value = layers[level][key];
      out.textContent = `${key} = ${layers[level][key]}`;
    });
    return h("label", {}, h("span", { text: word }), input, out);
  }

  function change(to) {
    layers = to;
    const same = layers.every((layer, k) => Object.keys(RANGES).every((key) => layer[key] === first[k][key]));
    maps = same ? given : stack(given[0].n, layers);
    build();
    const top = maps.at(-1);
    say(
      top.n
        ? `${top.name}: n = ${top.n}, j = ${number(top.j)}, r = ${number(top.r)}, start = ${number(top.start)}`
        : sum.textContent,
    );
  }

  /** Maps of other sizes have other buttons. */
  function build() {
    for (const put of inputs) put();
    const there = maps.filter((map) => map.n > 0);
    const broken = maps.find((map) => map.n <= 0);
    const range = reach(there);
    const over = h("div");
    grids = there
      .slice(1)
      .map((map, k) => ({
        map,
        grid: buttons({ name: map.name, n: map.n, choose: (at) => pick(k + 1, at, true) }),
      }));
    place.replaceChildren(
      figure("Over the image", over),
      h(
        "div",
        { class: "maps" },
        grids.map(({ map, grid }) => figure(`${map.name}: ${map.n} × ${map.n}`, grid.element)),
      ),
    );

    function pick(level, at, aloud) {
      // What a map that is too small can't show is shown again when it has grown.
      if (aloud) chosen = { level, at };
      const map = there[level];
      over.replaceChildren(
        seen(maps, map, at, range, { units: centred(map, at, level ? Math.min(0.7, map.j * 0.7) : 0) }),
      );
      grids.forEach(({ map: one, grid }) =>
        grid.show({
          chosen: one === map ? at : null,
          read: map.before === one ? at.map((i) => within(reads(map, i), one.n)) : null,
        }),
      );
      sum.textContent = broken && !aloud ? unfit(broken) : told(map, at);
      sum.classList.toggle("unfit", Boolean(broken && !aloud));
      write(map, at);
      if (aloud) say(sum.textContent);
    }

    const level = Math.min(chosen.level, there.length - 1);
    if (level < 1) {
      over.replaceChildren(seen(maps, maps[0], [0, 0], range));
      sum.textContent = unfit(broken);
      sum.classList.add("unfit");
      numbers.replaceChildren();
      return;
    }
    pick(level, chosen.at.map((i) => Math.min(i, there[level].n - 1)), false);
  }

  function write(map, at) {
    const centre = (d) => `${number(map.start)} + ${at[d]} · ${number(map.j)} = ${number(map.centre(at[d]))}`;
    const all = new Set(
      maps.flatMap(({ name, n }) => (n > 0 ? ["n", "j", "r", "start"].map((key) => `${name}.${key}`) : [])),
    );
    numbers.replaceChildren(
      ledger(maps, all),
      ...["n", "j", "r", "start"].map((key) => formula(key, map)),
      h(
        "p",
        { class: "formula" },
        `Unit (${at.join(", ")}): centre in rows `,
        h("b", { text: centre(0) }),
        ", in columns ",
        h("b", { text: centre(1) }),
        `; field: rows ${hull(map.box(at[0]))}, columns ${hull(map.box(at[1]))}.`,
      ),
    );
  }

  build();
  return {
    // The sliders stand by the drawing, so that on a narrow screen both are seen at once.
    drawn: h(
      "div",
      {},
      place,
      h("div", { class: "all-sliders" }, sliders),
      h("div", { class: "field-row" }, reset, open),
    ),
    words: [
      h("p", {
        text:
          "Change a kernel, a stride or a padding, and point at units of either map. Everything follows " +
          "from the four formulas.",
      }),
      sum,
      numbers,
    ],
  };
}

function unfit(map) {
  const { k, p } = map.layer;
  return (
    `A kernel of ${k} does not fit on ${map.before.n} + 2 · ${p} ${map.before.layer ? "units" : "pixels"}: ` +
    `${map.name} has no units.`
  );
}
