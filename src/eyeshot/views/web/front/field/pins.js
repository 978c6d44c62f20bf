// What a press and the keys common to all drawings do to the unit that is shown.

/** Whether two units, of which either may be null, are the same. */
export const same = (a, b) => a && b && a.join() === b.join();

/** A press on a unit chooses and pins it; one on the pinned unit releases it, and then it is pointed at. */
export function press(store, unit) {
  const again = store.state.pinned && same(unit, store.state.unit);
  store.set({ unit, hover: again ? unit : null, pinned: !again });
}

/**
 * Enter and the space bar pin the unit that is shown or release it, Escape releases it, Page Up and Page Down
 * ask for another layer. Other keys do nothing.
 */
export function pinKey(event, { store, say }, unit) {
  const { pinned } = store.state;
  if (event.key === "Enter" || event.key === " ") {
    store.set({ unit, hover: null, pinned: !pinned });
    say(pinned ? "Released" : "Pinned");
  } else if (event.key === "Escape" && pinned) {
    store.set({ pinned: false });
    say("Released");
  } else if (event.key === "PageUp" || event.key === "PageDown") {
    const detail = event.key === "PageUp" ? -1 : 1;
    event.currentTarget.dispatchEvent(new CustomEvent("layerstep", { bubbles: true, detail }));
  } else return;
  event.preventDefault();
}
