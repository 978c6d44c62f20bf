// How numbers and names are written, the same everywhere on the page.

export const DASH = "–";

/** 4, 0.5, 1/3 as 0.333; – where there is none. */
export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return DASH;
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  // Halves are as exact as they are; a thousand times a large one would not be.
  const short = Number.isInteger(2 * value) ? value : Math.round(value * 1000) / 1000;
  return short < 0 ? `−${-short}` : String(short);
}

/** 7 where all axes agree, else 7×5. */
export function perAxis(values) {
  return new Set(values).size <= 1 ? (values[0] ?? DASH) : values.join("×");
}

/** The local size of a field; ∞ where it has no end, `+ global` where the whole axis is read besides. */
export function size(field) {
  const local = field.size === null ? "∞" : number(field.size);
  if (!field.global) return local;
  return field.jump === null && field.dim === null ? "global" : `${local} + global`;
}

export const ABSENT = "not in this file";

/** [−213, 214) */
export function hull(pair) {
  if (!pair) return ABSENT;
  return pair[0] < pair[1] ? `[${number(pair[0])}, ${number(pair[1])})` : "nothing";
}

/** What an axis of an input is called where it has `count` axes. */
export function axisName(count, k) {
  return { 1: ["time"], 2: ["rows", "columns"], 3: ["z", "y", "x"] }[count]?.[k] ?? `axis ${k + 1} of ${count}`;
}

/** 1 × 3 × 224 × 224 */
export function shape(sizes) {
  return sizes.join(" × ");
}
