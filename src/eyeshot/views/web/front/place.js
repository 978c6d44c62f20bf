// The place in the address: #layer=NAME&unit=3,3, so that a link into a report restores what it showed.

/** The layer's number and the unit that an address names; null where it names none of this network. */
function named(hash, page) {
  const asked = new URLSearchParams(hash.replace(/^#/, ""));
  const layer = page.byName.get(asked.get("layer") ?? "");
  if (!layer) return null;
  const unit = (asked.get("unit") ?? "").split(",").map(Number);
  const fits =
    unit.length === layer.extent.length &&
    unit.every((i, d) => Number.isInteger(i) && i >= 0 && i < layer.extent[d]);
  return { layer: layer.number, unit: fits ? unit : undefined };
}

/** The address of a layer and a unit. */
function address(layer, unit) {
  const asked = new URLSearchParams({ layer: layer.name });
  if (unit?.length) asked.set("unit", unit.join(","));
  return `#${asked}`.replaceAll("%2C", ",");
}

/** Goes where the address points, now and when it changes, and writes down where one is. */
export function follow(store) {
  const go = () => {
    const found = store.state.page && named(location.hash, store.state.page);
    if (found) store.choose(found.layer, found.unit);
  };
  go();
  window.addEventListener("hashchange", go);
  let timer = 0;
  const write = () => {
    const { page, layer, unit } = store.state;
    if (!page || layer === null) return;
    try {
      history.replaceState(null, "", address(page.layers[layer], unit));
    } catch {
      // Some browsers let no file change its own address; then it stays as it is.
    }
  };
  // Browsers refuse an address that changes with every move of a pointer.
  store.on(["layer", "unit"], () => {
    clearTimeout(timer);
    timer = setTimeout(write, 300);
  });
}
