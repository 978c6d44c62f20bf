// The foot of the page: what the words and numbers mean, and which version made them.

import { h } from "./dom.js";

const WORDS = [
  [
    "size",
    "How many input elements lie between the first and the last one that a unit reads: the receptive " +
    "field. Where units differ, the largest.",
  ],
  ["jump", "How far the field moves on the input from one unit to the next: the effective stride."],
  [
    "start",
    "The centre of the first unit's field. Element k covers [k, k + 1], so the input itself starts at 0.5.",
  ],
  ["padding", "How far the first unit's field reaches out before the input: the effective padding."],
  [
    "centre",
    "The middle of a unit's field: start + unit × jump. Several units may share one, where a network " +
    "upsamples.",
  ],
  [
    "box",
    "A field along each axis, as [begin, end): the begin is read, the end is the first element that is " +
    "not. It may reach outside the input, into padding.",
  ],
  ["clipped", "The part of a box that lies inside the input."],
  [
    "phase",
    "After upsampling, neighbouring units read fields of different sizes, in a pattern that repeats. The " +
    "page shows each unit's own.",
  ],
  [
    "global",
    "The unit also reads the whole input, or all of it along an axis, through pooling, attention, " +
    "normalisation or gates. “99 + global”: its local field is 99.",
  ],
  [
    "≤ bound",
    "An upper bound: somewhere below is an operator that eyeshot does not know. The true field is never " +
    "larger.",
  ],
];

/** Mounts the view. */
export function mount(element, app) {
  const version = h("p", { class: "muted small" });
  element.append(
    h(
      "details",
      { class: "glossary" },
      h("summary", {}, h("h2", { text: "What the numbers mean" })),
      h("dl", {}, WORDS.map(([word, text]) => h("div", {}, h("dt", { text: word }), h("dd", { text })))),
      h(
        "p",
        { class: "muted small" },
        "All fields are structural: what the arithmetic reads. Weights that are zero or units that are " +
        "dead may hide a read; they never add one.",
      ),
    ),
    version,
  );
  const draw = ({ page }) => {
    const made = page?.content.version;
    version.textContent = made ? `Made with eyeshot ${made}.` : "";
  };
  app.store.on(["page"], draw);
  draw(app.store.state);
}
