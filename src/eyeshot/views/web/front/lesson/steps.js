// The steps of the lesson, in the article's order. Every number in them is read from the maps.

import { h } from "../dom.js";
import { hull, number } from "../words.js";
import { reads, within } from "./arithmetic.js";
import { buttons, figure, plane } from "./drawing.js";
import { formula, ledger } from "./formulas.js";
import { play } from "./play.js";
import { walk } from "./walk.js";

const p = (...content) => h("p", {}, content);
const strong = (text) => h("strong", { text });

/** Where a drawing begins and ends that shows all boxes of these maps. */
export function reach(maps) {
  const n = maps[0].n;
  const shown = maps.filter((map) => map.n > 0);
  const low = Math.min(0, ...shown.map((map) => map.box(0)[0]));
  const high = Math.max(n, ...shown.map((map) => map.box(map.n - 1)[1]));
  return [Math.floor(low), Math.ceil(high)];
}

const both = (at, of) => at.map(of);

/** A unit, its box and what of it lies in the image, in words. */
export function told(map, at) {
  const box = both(at, map.box);
  const inside = both(at, map.inside);
  const where =
    `Unit (${at.join(", ")}) of ${map.name} is centred at (${both(at, map.centre).map(number).join(", ")}). ` +
    `Its field: rows ${hull(box[0])}, columns ${hull(box[1])}.`;
  const out = box.some(([low, high], d) => low < inside[d][0] || high > inside[d][1]);
  if (inside.some(([low, high]) => low >= high)) return `${where} It reads nothing but padding.`;
  return out
    ? `${where} In the image lie rows ${hull(inside[0])} and columns ${hull(inside[1])}; the rest is padding.`
    : where;
}

/** What a unit sees: the drawing over the input, for a unit of any map. */
export function seen(maps, map, at, [low, high], more = {}) {
  return plane({
    n: maps[0].n,
    low,
    high,
    read: both(at, map.inside),
    box: both(at, map.box),
    label: told(map, at),
    ...more,
  });
}

/** All units of a map at the centres of their fields. */
export function centred(map, at, side = 0) {
  const units = [];
  for (let y = 0; y < map.n; y += 1) {
    for (let x = 0; x < map.n; x += 1) {
      units.push({ at: [map.centre(y), map.centre(x)], side, chosen: y === at[0] && x === at[1] });
    }
  }
  return units;
}

/**
 * The drawing over the input beside maps whose units can be pointed at. `more(map, at)`: what else is drawn.
 */
function pointing({
  maps,
  pick,
  first,
  at: begin = [0, 0],
  say,
  title,
  range = reach(maps),
  more = () => ({}),
}) {
  const place = h("div");
  const words = h("p", { class: "lesson-told" });
  const grids = pick.map((map) => ({
    map,
    grid: buttons({ name: map.name, n: map.n, choose: (at) => show(map, at, true) }),
  }));
  function show(map, at, aloud) {
    place.replaceChildren(seen(maps, map, at, range, more(map, at)));
    words.textContent = told(map, at);
    for (const one of grids) {
      const below =
        one.map.n && map.before === one.map ? at.map((i) => within(reads(map, i), one.map.n)) : null;
      one.grid.show({ chosen: one.map === map ? at : null, read: below });
    }
    if (aloud) say(words.textContent);
  }
  show(first, begin, false);
  const drawn = h(
    "div",
    { class: "figures" },
    figure(title, place),
    h(
      "div",
      { class: "maps" },
      grids.map(({ map, grid }) => figure(`${map.name}: ${map.n} × ${map.n} units`, grid.element)),
    ),
  );
  return { drawn: h("div", {}, drawn, words), show };
}

/** The steps: {title, build(say) → {drawn, words, stop?, play?}}. */
export function steps(maps, app) {
  const [image, one, two] = maps;
  const { k, s: stride, p: padding } = one.layer;
  const size = `${image.n} × ${image.n}`;
  const early = reach([image, one]);
  const middle = one.n >> 1;
  const known = new Set();
  const order = [
    [],
    ["layer1.n"],
    ["layer1.j"],
    ["layer1.r"],
    ["layer1.start"],
    ["layer2.n"],
    ["layer2.j", "layer2.r", "layer2.start"],
  ];
  const names = { layer1: one.name, layer2: two.name };
  const found = order.map((list) => list.map((id) => id.replace(/^layer[12]/, (name) => names[name])));
  const numbers = (step) =>
    ledger(maps, new Set([...known, ...found.slice(0, step + 1).flat()]), new Set(found[step]));
  return [
    {
      title: "What does a unit see?",
      build: (say) => ({
        ...pointing({ maps, pick: [one, two], first: one, say, title: `The image, ${size}` }),
        words: [
          p("The ", strong("receptive field"), " of a unit is the part of the input that it reads."),
          p(
            `The article’s example is an image of ${size} pixels and two layers. Each has a kernel of ` +
            `${k} × ${k} (k = ${k}) that moves by ${stride} (stride, s = ${stride}), with a ring of ` +
            `padding around what it reads (p = ${padding}).`,
          ),
          p(
            "Point at a unit of either map: the dashed frame is its receptive field, the filled part lies " +
            "in the image.",
          ),
          p("Four numbers per layer say it all: n, j, r and start. The next steps find them."),
          numbers(0),
        ],
      }),
    },
    {
      title: "The kernel walks over the image",
      build: (say) => ({
        ...walk({ map: one, say, title: `The image, ${size}, with padding` }),
        words: [
          p(
            `The kernel begins ${padding} outside the image, and moves by ${stride}. Every position makes ` +
            "one unit of the map.",
          ),
          p("How many positions there are along an axis:"),
          formula("n", one),
          numbers(1),
        ],
      }),
    },
    {
      title: "Jump: how far apart neighbours look",
      build: (say) => ({
        ...pointing({
          maps,
          pick: [one],
          first: one,
          say,
          at: [middle, middle],
          title: "Fields of two neighbours",
          range: early,
          more: (map, at) => neighbours(map, at),
        }),
        words: [
          p(
            "Go one unit further on the map: by how many pixels does the field move on the image? That is the ",
            strong("jump"),
            " j.",
          ),
          p("Pixels lie 1 apart, so the image has j = 1. Every stride multiplies it."),
          formula("j", one),
          numbers(2),
        ],
      }),
    },
    {
      title: "Receptive field: how wide it looks",
      build: (say) => ({
        ...pointing({
          maps,
          pick: [one],
          first: one,
          say,
          at: [middle, middle],
          title: "The field of a unit",
          range: early,
          more: (map, at) => width(map, at),
        }),
        words: [
          p(
            "A kernel takes in k units of the map before. Their fields lie ",
            h("i", { text: "j" }),
            h("sub", { text: "in" }),
            " apart: to the first one’s width, each of the other k − 1 adds that much.",
          ),
          formula("r", one),
          numbers(3),
        ],
      }),
    },
    {
      title: "Start: where the first unit looks",
      build: (say) => ({
        ...pointing({
          maps,
          pick: [one],
          first: one,
          say,
          title: "Centres of all fields",
          range: early,
          more: (map, at) => first(map, at),
        }),
        words: [
          p("Pixel k covers [k, k + 1]: the centre of the first pixel is ", number(image.start), "."),
          p(
            "The middle of a kernel is (k − 1) / 2 units after its beginning; padding moves it back by p. " +
            "One unit is ",
            h("i", { text: "j" }),
            h("sub", { text: "in" }),
            " pixels.",
          ),
          formula("start", one),
          p(`So unit i is centred at start + i · j = ${number(one.start)} + ${number(one.j)} · i.`),
          numbers(4),
        ],
      }),
    },
    {
      title: "The second layer walks over the first",
      build: (say) => ({
        ...walk({ map: two, say, title: `The map of ${one.name}, ${one.n} × ${one.n}, with padding` }),
        words: [
          p(
            `The second layer does not read the image. It reads the map that ${one.name} made, with ` +
            "padding of its own, in the same way.",
          ),
          formula("n", two),
          p(`A map of ${two.n} × ${two.n} units. But what do they see of the image?`),
          numbers(5),
        ],
      }),
    },
    {
      title: "What the second layer sees of the image",
      build: (say) => ({
        ...pointing({
          maps,
          pick: [two, one],
          first: two,
          say,
          title: `${two.name} over the image: units at the centres of their fields`,
          more: (map, at) => through(map, at, two),
        }),
        words: [
          p(
            `A unit of ${two.name} reads units of ${one.name}, and each of these sees ${one.r} pixels ` +
            "(thin frames; dotted where its kernel stands on padding).",
          ),
          p(
            "Together they span ",
            strong(`r = ${number(two.r)}`),
            two.r > image.n ? `: more than the image, which has ${image.n}.` : ".",
          ),
          formula("j", two),
          formula("r", two),
          formula("start", two),
          p(
            `The same map, drawn twice: beside the image with its ${two.n}\u00a0×\u00a0${two.n} units ` +
            `side by side, and over the image with each unit where it looks, at ${number(two.start)} + ` +
            `${number(two.j)} · i.`,
          ),
          numbers(6),
        ],
      }),
    },
    { title: "Now you", build: (say) => play({ maps, say, app }) },
  ];
}

function neighbours(map, at) {
  const next = [at[0], at[1] < map.n - 1 ? at[1] + 1 : at[1] - 1];
  if (next[1] < 0) return {};
  const [from, to] = [at[1], next[1]].map(map.centre).sort((a, b) => a - b);
  return {
    way: [{ hulls: both(next, map.box), there: true }],
    units: centred(map, at),
    measures: [{ from, to, at: map.centre(at[0]), text: `j = ${number(map.j)}` }],
  };
}

function width(map, at) {
  const [from, to] = map.box(at[1]);
  return {
    units: [{ at: both(at, map.centre), side: 0, chosen: true }],
    measures: [{ from, to, at: map.centre(at[0]) + 0.75, text: `r = ${number(map.r)}` }],
  };
}

function first(map, at) {
  const here = map.centre(at[1]);
  const text =
    at[1] > 0
      ? `${number(map.start)} + ${at[1]} · ${number(map.j)} = ${number(here)}`
      : `start = ${number(map.start)}`;
  return {
    units: centred(map, at),
    measures: [{ from: 0, to: here, at: map.centre(at[0]), text, kind: "centre" }],
  };
}

/** The fields of the units that a unit reads on its way; where the kernel stands on padding there is none. */
function through(map, at, top) {
  const way = [];
  const { before } = map;
  if (before.layer) {
    const [rows, columns] = at.map((i) => reads(map, i));
    const inside = (i) => i >= 0 && i < before.n;
    for (let y = rows[0]; y < rows[1]; y += 1) {
      for (let x = columns[0]; x < columns[1]; x += 1) {
        way.push({ hulls: [before.box(y), before.box(x)], there: inside(y) && inside(x) });
      }
    }
    // What is there is drawn over what is not.
    way.sort((a, b) => a.there - b.there);
  }
  return { way, units: centred(map, at, map === top ? 0.7 : 0.4) };
}
