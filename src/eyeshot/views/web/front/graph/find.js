// Finding layers by parts of their names.

const LONGEST = 200;

/**
 * The layers whose name or place in modules holds all words of `text`, names that begin with it first.
 * Operators count where no name does: "conv2" is not every conv2d.
 */
export function matching(page, text) {
  const wanted = text.slice(0, LONGEST).trim().toLowerCase();
  if (!wanted) return [];
  const words = wanted.split(/\s+/);
  const holds = (text) => words.every((word) => text.toLowerCase().includes(word));
  const named = (layer) => `${layer.name} ${layer.path ?? ""}`;
  let found = page.layers.filter((layer) => holds(named(layer)));
  if (!found.length) found = page.layers.filter((layer) => holds(`${named(layer)} ${layer.op}`));
  const rank = (layer) => {
    const name = layer.name.toLowerCase();
    if (name === wanted) return 0;
    return name.startsWith(wanted) ? 1 : 2;
  };
  return found.sort((a, b) => rank(a) - rank(b) || a.number - b.number).map((layer) => layer.number);
}
