// The exact set of a unit, holes and all, and its mass: asked of the server for the chosen unit, drawn over
// the input.

import { h } from "../dom.js";
import { aborted, ask, floats, unpacked } from "./api.js";
import { question } from "./session.js";

const HINT = "of the chosen unit, counted path by path";
const KINDS = { set: "Exact set", mass: "Mass" };

const product = (values) => values.reduce((a, b) => a * b, 1);

/**
 * What is said about a set: how many elements of its field inside the input it reads, and how many it leaves
 * out.
 */
function summary(kind, part, values) {
  const read = values.reduce((sum, value) => sum + (value > 0 ? 1 : 0), 0);
  const all = product(part.mask.shape);
  if (kind === "set") {
    if (!read) return "reads nothing inside the input";
    const holes = all - read;
    return (
      `reads ${read} of the ${all} elements of its field inside the input` +
      (holes ? `; ${holes} are holes` : "; no holes")
    );
  }
  const most = values.reduce((a, b) => Math.max(a, b), 0);
  const total = part.mass.total;
  return (
    `total mass ${Number(total.toPrecision(6))}, the largest share ` +
    `${((100 * most) / (total || 1)).toPrecision(3)} %`
  );
}

/** Puts the buttons into a field view's section; `current()` is the session whose network it shows. */
export function exact(element, app, current) {
  let request = null;
  const legend = h("p", { class: "exact-legend", role: "status", text: HINT });
  const buttons = Object.entries(KINDS).map(([kind, name]) =>
    h(
      "button",
      {
        type: "button",
        class: "button",
        "aria-pressed": "false",
        "data-kind": kind,
        onclick: () => toggle(kind),
      },
      name,
    ),
  );
  const label = "The chosen unit's exact set and mass";
  const box = h("div", { class: "exact-set", role: "group", "aria-label": label }, buttons, legend);
  // Above the drawing that it is about.
  element.querySelector(".field-views").before(box);

  function pressed(kind) {
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.kind === kind));
  }

  function toggle(kind) {
    const { overlay } = app.store.state;
    if (overlay?.kind === kind) clear();
    else show(kind);
  }

  function clear() {
    request?.abort();
    request = null;
    pressed(null);
    legend.textContent = HINT;
    app.store.set({ overlay: null });
  }

  async function show(kind) {
    const { page, layer: number, unit, source } = app.store.state;
    if (!page || number === null) return;
    request?.abort();
    request = new AbortController();
    const { signal } = request;
    const layer = page.layers[number];
    const session = current();
    pressed(kind);
    legend.textContent = "Asking…";
    try {
      const asked = { ...question(session.answered, session.rate), layer: layer.name, unit };
      const { parts } = await ask("unit", asked, signal);
      if (signal.aborted) return;
      const part = parts.find(({ input }) => input === page.inputs[source].name);
      if (!part) throw new Error(`${layer.name} reads nothing of ${page.inputs[source].name}.`);
      const count = product(part.mask.shape);
      const values = kind === "set" ? unpacked(part.mask.bits, count) : floats(part.mass.values);
      app.store.set({
        overlay: {
          layer: number,
          unit,
          input: source,
          kind,
          shape: part.mask.shape,
          box: part.clipped,
          values,
        },
      });
      const where = unit.length ? ` unit (${unit.join(", ")})` : "";
      legend.textContent = `${KINDS[kind]}: ${layer.name}${where} ${summary(kind, part, values)}.`;
    } catch (error) {
      if (aborted(error)) return;
      clear();
      legend.textContent = error.message;
    }
  }

  // What is drawn belongs to one unit of one network.
  app.store.on(["page", "layer", "unit", "source"], () => {
    if (request || app.store.state.overlay || legend.textContent !== HINT) clear();
  });
}
