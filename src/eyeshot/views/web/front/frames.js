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
