// Scales and ticks of drawings with an axis: numbers to pixels, and round numbers between two ends.

/** `value`, but at least `low` and at most `high`. */
export const clamp = (value, low, high) => Math.max(low, Math.min(high, value));

/** A place in a drawing, to a hundredth of a pixel. */
export const round = (value) => Math.round(value * 100) / 100;

/** 1, 2 or 5 times a power of ten: the smallest that is at least `least`. */
function step(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  const factor = [1, 2, 5, 10].find((one) => one * power >= least * (1 - 1e-9));
  return factor * power;
}

/** Round numbers from `low` to `high`, at most about `count`; `whole` leaves out fractions. */
export function ticks(low, high, count, whole = false) {
  if (!(high > low)) return [low];
  let by = step((high - low) / Math.max(1, count));
  if (whole) by = Math.max(1, by);
  const out = [];
  // Counted in steps, so that 0.1 + 0.2 does not end up beside 0.3.
  for (let k = Math.ceil(low / by - 1e-9); k * by <= high * (1 + 1e-12) + 1e-12; k += 1) {
    out.push(by < 1 ? Math.round(k * by * 1e9) / 1e9 : k * by);
  }
  return out;
}

/** Round numbers on a logarithmic axis: powers of ten, and 2 and 5 times these where there is room. */
export function logTicks(low, high, count) {
  const out = [];
  const decades = Math.log10(high / low);
  const factors = decades * 3 <= count ? [1, 2, 5] : decades * 2 <= count ? [1, 3] : [1];
  const every = factors.length > 1 ? 1 : Math.max(1, Math.ceil(decades / Math.max(1, count)));
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += every) {
    for (const factor of factors) {
      const value = factor * 10 ** power;
      if (value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9)) out.push(
        power < 0 ? Number(value.toPrecision(3)) : value
      );
    }
  }
  return out;
}

/** A map from [low, high] to [from, to], linear or logarithmic, with its `inverse`. */
export function scale(low, high, from, to, log = false) {
  const turn = log ? Math.log : (value) => value;
  const back = log ? Math.exp : (value) => value;
  const [a, b] = [turn(low), turn(high)];
  const slope = (to - from) / (b - a || 1);
  const map = (value) => from + (turn(value) - a) * slope;
  map.inverse = (place) => back(a + (place - from) / slope);
  return map;
}

function grouped(value) {
  const [whole, rest] = String(Math.abs(value)).split(".");
  return (value < 0 ? "−" : "") + whole.replace(/\B(?=(\d{3})+$)/g, ",") + (rest ? `.${rest}` : "");
}

/** 16000 as 16,000; at most three decimals. */
export function thousands(value) {
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  return grouped(Number.isInteger(2 * value) ? value : Math.round(value * 1000) / 1000);
}

/** A length of time in ms or s, from samples, to four digits. */
export function duration(samples, rate) {
  const ms = (samples / rate) * 1000;
  if (!Number.isFinite(ms)) return ms > 0 ? "∞" : "−∞";
  const long = Math.abs(ms) >= 10000;
  return `${grouped(Number((long ? ms / 1000 : ms).toPrecision(4)))} ${long ? "s" : "ms"}`;
}
