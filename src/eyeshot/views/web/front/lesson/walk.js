// A kernel walking over a map, position by position, and the map that it makes.

import { h } from "../dom.js";
import { hull } from "../words.js";
import { reads, within } from "./arithmetic.js";
import { buttons, figure, plane } from "./drawing.js";

/** Time on one position, in milliseconds. */
const PACE = 900;

const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

const count = ([low, high]) => Math.max(0, high - low);

/** What a position reads, in words. */
function told(map, at) {
  const windows = at.map((i) => reads(map, i));
  const inside = windows.map((one) => within(one, map.before.n));
  const all = count(windows[0]) * count(windows[1]);
  const there = count(inside[0]) * count(inside[1]);
  const rest = all > there ? `, ${all - there} of padding` : "";
  return (
    `Unit (${at.join(", ")}) of ${map.name} reads rows ${hull(windows[0])} and columns ${hull(windows[1])}: ` +
    `${there} ${map.before.layer ? `units of ${map.before.name}` : "pixels"}${rest}.`
  );
}

/**
 * The walk of a map's kernel over the map before it: {drawn, stop, toggle}. It walks through once by itself.
 */
export function walk({ map, say, title }) {
  const { n, before } = map;
  const low = Math.min(0, reads(map, 0)[0]);
  const high = Math.max(before.n, reads(map, n - 1)[1]);
  const last = n * n - 1;
  let at = 0;
  let timer = null;
  const place = h("div");
  const words = h("p", { class: "lesson-told" });
  const grid = buttons({
    name: map.name,
    n,
    choose: ([y, x]) => {
      stop();
      show(y * n + x, true);
    },
  });
  const toggleButton = h("button", { type: "button", class: "button", onclick: toggle });
  const button = (text, label, by) =>
    h(
      "button",
      { type: "button", class: "button icon", "aria-label": label, title: label, onclick: () => move(by) },
      text,
    );
  const tally = h("span", { class: "muted numbers" });
  const controls = h(
    "div",
    { class: "walk" },
    button("◀", "Position before", -1),
    toggleButton,
    button("▶", "Next position", 1),
    tally,
  );

  function show(to, aloud) {
    at = to;
    const unit = [Math.floor(at / n), at % n];
    const windows = unit.map((i) => reads(map, i));
    const read = windows.map((one) => within(one, before.n));
    words.textContent = told(map, unit);
    place.replaceChildren(plane({ n: before.n, low, high, read, box: windows, label: words.textContent }));
    grid.show({ chosen: unit, done: at });
    tally.textContent = `${at + 1} of ${last + 1}`;
    if (aloud) say(words.textContent);
  }

  function move(by) {
    stop();
    show((at + by + last + 1) % (last + 1), true);
  }

  function name() {
    toggleButton.textContent = timer === null ? "Play" : "Pause";
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    name();
  }

  function start() {
    if (at === last) show(0);
    timer = setInterval(() => {
      if (!place.isConnected) stop();
      else if (at === last) stop();
      else show(at + 1);
    }, PACE);
    name();
  }

  function toggle() {
    if (timer === null) start();
    else stop();
  }

  show(0);
  name();
  // Who asked for less motion steps through by hand, or presses Play.
  if (!still() && last > 0) start();
  const made = `${map.name}: ${n} × ${n} units`;
  const drawn = h(
    "div",
    { class: "figures" },
    figure(title, place),
    h("div", { class: "maps" }, figure(made, grid.element)),
  );
  return { drawn: h("div", {}, drawn, controls, words), stop, toggle };
}
