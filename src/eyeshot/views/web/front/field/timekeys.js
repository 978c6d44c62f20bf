// What pointer, wheel and keys do on a time line.

import { shown } from "./parts.js";
import { pinKey, press, same } from "./pins.js";
import { EDGE } from "./timebase.js";
import { clamp } from "../scales.js";

/** What keys do, for the page's list. */
export const KEYS = [
  [["←", "→"], "to the next unit; with Shift, ten or a hundredth of them"],
  [["Home", "End"], "to the first and the last unit"],
  [["+", "−"], "zoom in and out"],
  [["↑", "↓"], "later and earlier"],
  [["0"], "show the whole input"],
  [["Enter"], "pin the unit, or release it"],
  [["Page Up", "Page Down"], "to the layer before or after"],
];

/** Makes a time line answer. */
export function interact(line) {
  const { stage, store } = line;
  let drag = null;
  const pick = (event) => line.rows && line.rows[0].unit(line.rows[0].at(line.time(event)), shown(store.state));
  stage.addEventListener("pointermove", (event) => {
    if (drag) {
      if (!drag.moved && Math.abs(event.clientX - drag.x) < 5) return;
      drag.moved = true;
      const [from, to] = drag.view;
      const by = ((event.clientX - drag.x) / (line.width - 2 * EDGE)) * (to - from);
      line.see(from - by, to - by);
      return;
    }
    const unit = pick(event);
    if (!unit || store.state.pinned || same(unit, store.state.hover)) return;
    store.set({ hover: unit });
  });
  stage.addEventListener("pointerdown", (event) => {
    if (event.button || !line.view) return;
    stage.setPointerCapture(event.pointerId);
    drag = { x: event.clientX, view: line.view, moved: false };
  });
  stage.addEventListener("pointerup", (event) => {
    const was = drag;
    drag = null;
    if (!was || was.moved) return;
    const unit = pick(event);
    press(store, unit);
  });
  stage.addEventListener("pointercancel", () => (drag = null));
  stage.addEventListener("pointerleave", () => !drag && store.set({ hover: null }));
  stage.addEventListener("wheel", (event) => wheel(line, event), { passive: false });
  stage.addEventListener("keydown", (event) => key(line, event));
}

function wheel(line, event) {
  if (!line.view) return;
  const sideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
  const zooms = event.ctrlKey || event.metaKey || document.activeElement === line.stage;
  if (!sideways && !zooms) return; // the page scrolls
  event.preventDefault();
  if (sideways) line.pan(((event.deltaX || event.deltaY) / line.width) * 0.8);
  else line.zoom(Math.exp(clamp(event.deltaY / 400, -1, 1)), line.time(event));
}

function key(line, event) {
  const { app, store } = line;
  if (!line.rows || event.altKey || event.metaKey || event.ctrlKey) return;
  const { state } = store;
  const [row] = line.rows;
  const i = line.index(state);
  const far = event.shiftKey ? (row.n > 1000 ? Math.round(row.n / 100) : 10) : 1;
  const to = { ArrowLeft: i - far, ArrowRight: i + far, Home: 0, End: row.n - 1 }[event.key];
  const views = {
    ArrowUp: () => line.pan(0.2), ArrowDown: () => line.pan(-0.2), 0: () => line.home(),
    "+": () => line.zoom(0.5), "=": () => line.zoom(0.5), "-": () => line.zoom(2),
  };
  if (to !== undefined) {
    const next = clamp(to, 0, row.n - 1);
    store.set({ unit: row.unit(next, shown(state)), hover: null });
    line.follow(row.span(next));
    app.say(line.said());
  } else if (views[event.key]) views[event.key]();
  else {
    pinKey(event, app, shown(state));
    return;
  }
  event.preventDefault();
}
