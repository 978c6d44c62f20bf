// Drawing with the browser's next frame, however many changes come before it.

/** A function that asks for one call of `draw()` with the next frame. */
export function nextFrame(draw) {
  let due = 0;
  return () => {
    due ||= requestAnimationFrame(() => {
      due = 0;
      draw();
    });
  };
}

/**
 * A drawing in two parts: the base, and the marks on it that follow every unit. `ready(state)` says whether
 * there is anything to draw. Gives {now(), later(what)}; "base" asks for both parts.
 */
export function drawing(store, { ready, base, marks }) {
  let whole = true;
  const now = () => {
    const { state } = store;
    if (!ready(state)) return;
    if (whole) base(state);
    whole = false;
    marks(state);
  };
  const soon = nextFrame(now);
  return {
    now,
    later(what) {
      whole ||= what === "base";
      soon();
    },
  };
}
