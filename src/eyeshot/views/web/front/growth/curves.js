// The growth of the field as lines to draw: which there are, what lies on them, where they pass the input.

/**
 * The lines of a page: {source, axes, length, label, points}. Axes that agree in everything are one line.
 * A point is {number, name, size, global, field}: size is local, NaN where units read nothing but the whole
 * axis, Infinity where there is no end.
 */
export function curves(page) {
  const out = [];
  page.inputs.forEach((input, source) => {
    for (const axis of input.axes) {
      const points = along(page, source, axis);
      if (!points.length) continue;
      const length = input.shape[axis];
      const twin = out.find(
        (one) => one.source === source && one.length === length && alike(one.points, points)
      );
      if (twin) twin.axes.push(axis);
      else out.push({ source, axes: [axis], length, points });
    }
  });
  for (const curve of out) {
    curve.label = label(page, curve, out);
    /** What global context along all of the curve's axes is all of. */
    curve.whole = curve.axes.length === page.inputs[curve.source].axes.length ? "whole input" : "whole axis";
  }
  return out;
}

function along(page, source, axis) {
  const points = [];
  for (const layer of page.layers) {
    const fields = layer.fields.filter((field) => field.source === source && field.axis === axis);
    const local = fields.filter(
      (field) => !(field.global && field.dim === null && field.jump === null) && field.size !== 0,
    );
    const global = fields.some((field) => field.global);
    if (!local.length && !global) continue;
    const sizes = local.map((field) => field.size ?? Infinity);
    const size = sizes.length ? Math.max(...sizes) : NaN;
    const bound = local.some((field) => field.status === "bound");
    points.push({ number: layer.number, name: layer.name, size, global, bound, field: local[0] ?? fields[0] });
  }
  return points;
}

function alike(one, other) {
  return (
    one.length === other.length &&
    one.every((point, k) => {
      const twin = other[k];
      return (
        point.number === twin.number && Object.is(point.size, twin.size) && point.global === twin.global &&
        point.field.n === twin.field.n && point.field.jump === twin.field.jump
      );
    })
  );
}

function label(page, curve, all) {
  const input = page.inputs[curve.source];
  const alone = all.filter((one) => one.source === curve.source).length === 1;
  const axes = `${curve.axes.length > 1 ? "axes" : "axis"} ${curve.axes.join(" and ")}`;
  const which = alone ? (
    input.axes.length > 1 && curve.axes.length === input.axes.length ? "all axes" : axes
  ) : axes;
  const long = `${which} (${curve.length})`;
  return page.inputs.length > 1 ? `${input.name}, ${long}` : long;
}

/**
 * The line to begin with: the one whose field is largest beside its input, of those on `source` where there are
 * any.
 */
export function strongest(lines, source) {
  const own = lines.filter((curve) => curve.source === source);
  const share = (curve) => Math.max(
    0,
    ...curve.points.map((p) => (Number.isNaN(p.size) ? 0 : p.size)),
  ) / curve.length;
  return (own.length ? own : lines).reduce(
    (best, curve) => (best && share(best) >= share(curve) ? best : curve), null,
  );
}

/** The first point in the order run whose local field is larger than the input, or undefined. */
export function crossing(curve) {
  return curve.points.find((point) => point.size > curve.length);
}

/**
 * The points with a finite size, with the largest so far (`upper`) and the smallest still to come (`lower`).
 */
export function envelope(points) {
  const known = points.filter((point) => Number.isFinite(point.size));
  let largest = 0;
  const upper = known.map((point) => (largest = Math.max(largest, point.size)));
  let smallest = Infinity;
  const lower = known.map((_, k) => (smallest = Math.min(
    smallest, known[known.length - 1 - k].size,
  ))).reverse();
  return { known, upper, lower };
}

/** Whether a logarithmic axis reads better: where most layers would lie at the foot of a linear one. */
export function logReads(lines) {
  const sizes = lines.flatMap((curve) => curve.points.map((point) => point.size)).filter(Number.isFinite);
  const top = Math.max(0, ...lines.map((curve) => curve.length), ...sizes);
  return sizes.filter((size) => size < top / 25).length > sizes.length / 3;
}
