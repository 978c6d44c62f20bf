// The network as a graph: modules closed and opened, layers chosen, found and walked through by keyboard.

import { s } from "./dom.js";
import { nextFrame } from "./frames.js";
import { drawFrame, drawHead, drawLine, drawNode, HEIGHT, Letters, wanted } from "./graph/draw.js";
import { figures } from "./graph/figures.js";
import { matching } from "./graph/find.js";
import { Layouts } from "./graph/layout.js";
import { panel } from "./graph/panel.js";
import { Sight } from "./graph/sight.js";
import { Tree } from "./graph/tree.js";
import { clamp } from "./scales.js";

/** More nodes than this are not opened by one press of a button. */
const TOO_MANY = 700;
/** The most room that the name of an opened module takes. */
const HEAD_TEXT = 280;

/** Mounts the view. */
export function mount(element, app) {
  new Graph(element, app).start();
}

class Graph {
  #frame = nextFrame(() => this.#now());

  constructor(element, app) {
    this.element = element;
    this.app = app;
    this.store = app.store;
    this.tree = null;
    this.open = new Set();
    /** What was opened for a layer chosen elsewhere; it closes again when another is chosen. */
    this.lent = new Set();
    this.layouts = new Layouts();
    this.focused = null;
    this.choosing = false;
    this.found = { text: "", numbers: [], at: 0 };
    this.typed = { text: "", when: 0 };
    this.waiting = new Set();
    /** Texts and elements of nodes, as long as the network and the input that is shown stay. */
    this.written = { page: null, source: null, figures: new Map(), elements: new Map() };
    this.hovered = [];
  }

  start() {
    this.#build();
    this.letters = new Letters(this.element);
    if (this.store.state.page) this.#page();
    this.store.on(["page"], () => this.#page());
    this.store.on(["findings"], (state, changed) => !changed.has("page") && this.#soon("draw"));
    this.store.on(["layer"], (state, changed) => {
      if (!changed.has("page") && !this.choosing) this.#soon("reveal");
      else this.#soon("marks");
    });
    this.store.on(["marks", "through"], () => this.#soon("marks"));
    this.store.on(["pointed"], () => this.#soon("pointed"));
    this.store.on(["source"], (state, changed) => {
      if (!changed.has("page") && this.tree?.inputs.length > 1) this.#soon("draw");
    });
  }

  /** Many changes may come before the next picture. */
  #soon(what) {
    this.waiting.add(what);
    this.#frame();
  }

  #now() {
    const what = this.waiting;
    this.waiting = new Set();
    if (!this.tree || this.tree.page !== this.store.state.page) return;
    if (what.has("reveal")) this.#reveal(this.store.state.layer);
    else if (what.has("draw")) this.#draw();
    else if (what.has("marks")) this.#marks();
    else if (what.has("pointed")) this.#pointed();
    if (what.has("heads") || what.has("draw") || what.has("reveal")) this.#heads();
  }

  /** The names of opened modules that are wider than the panel stay in sight. */
  #heads() {
    const [from] = this.sight.span();
    for (const { node, element, box } of this.at.values()) {
      if (!node.opens || !this.open.has(node.id)) continue;
      const by = Math.max(0, Math.min(from - box.x, box.width - HEAD_TEXT));
      if (box.width > HEAD_TEXT) {
        element.querySelector(".graph-stays").setAttribute("transform", `translate(${by} 0)`);
      }
    }
  }

  // --- the panel

  #build() {
    const made = panel({
      openLevel: () => this.#openLevel(),
      closeAll: () => this.#reset(new Set()),
      smaller: () => this.sight.zoom(-1),
      larger: () => this.sight.zoom(1),
      fit: () => this.sight.fit(),
      search: (event) => this.#search(event.target.value),
      searchKey: (event) => this.#searchKey(event),
      svg: {
        onclick: (event) => this.#click(event),
        ondblclick: (event) => this.#doubleClick(event),
        onkeydown: (event) => this.#key(event),
        onpointerover: (event) => this.#point(event),
        onpointerleave: () => this.store.set({ pointed: null }),
        onfocusin: (event) => this.#focusIn(event),
        onfocusout: () => this.store.set({ pointed: null }),
      },
    });
    Object.assign(this, { panel: made.panel, svg: made.svg, input: made.input, hits: made.hits });
    this.sight = new Sight(made.scroll, made.svg, made.zoomed);
    made.scroll.addEventListener("scroll", () => this.#soon("heads"), { passive: true });
    this.panel.hidden = true;
    this.element.append(this.panel);
  }

  /** Another network: what was open stays open where the network is mostly the same. */
  #page() {
    const { page } = this.store.state;
    const before = this.tree;
    this.tree = page && new Tree(page);
    this.panel.hidden = !page;
    if (!page) return;
    const same = before && this.tree.resembles(before);
    this.open = same
      ? new Set([...this.open].filter((id) => this.tree.byId.get(id)?.opens))
      : this.tree.start();
    this.lent = new Set();
    this.focused = this.tree.byId.has(this.focused) ? this.focused : null;
    this.found.numbers = matching(page, this.found.text);
    this.found.at = 0;
    this.waiting.clear();
    this.#draw();
    if (same) return;
    this.sight.begin();
  }

  // --- the picture

  #draw() {
    const { tree, open, letters } = this;
    const { page, source } = this.store.state;
    if (this.written.page !== page || this.written.source !== source) {
      this.written = { page, source, figures: new Map(), elements: new Map() };
    }
    const { written } = this;
    const of = (node) => {
      if (!written.figures.has(node)) written.figures.set(node, figures(page, node, source));
      return written.figures.get(node);
    };
    const measure = (node, frame) => ({ width: wanted(letters, of(node), node.opens, frame), height: HEIGHT });
    const began = performance.now();
    const made = this.layouts.of(tree, open, measure);
    this.element.dataset.layout = (performance.now() - began).toFixed(1);
    this.seen = tree.seen(open);
    this.at = new Map();
    const frames = s("g", { "aria-hidden": "true" });
    const lines = s("g", { "aria-hidden": "true" });
    this.lines = made.lines.map((line) => ({ ...line, element: drawLine(line) }));
    lines.append(...this.lines.map((line) => line.element));
    const nodes = this.seen.map(({ node, level, place, of: count }) => {
      const box = made.boxes.get(node);
      const opened = node.opens && open.has(node.id);
      if (opened) frames.append(drawFrame(box));
      const known = written.elements.get(node);
      let element = known?.element;
      if (known?.opened === opened && known.width === box.width) {
        element.setAttribute("transform", `translate(${box.x} ${box.y})`);
      } else {
        element = (opened ? drawHead : drawNode)(letters, node, of(node), box);
        element.setAttribute("role", "treeitem");
        element.setAttribute("aria-label", of(node).title);
        element.setAttribute("aria-level", level);
        element.setAttribute("aria-posinset", place);
        element.setAttribute("aria-setsize", count);
        if (node.opens) element.setAttribute("aria-expanded", String(opened));
        written.elements.set(node, { element, opened, width: box.width });
      }
      this.at.set(node.id, { node, element, box });
      return element;
    });
    const focus = this.svg.contains(document.activeElement) && document.activeElement !== this.svg;
    this.redrawing = true;
    this.svg.replaceChildren(frames, lines, ...nodes);
    this.redrawing = false;
    this.sight.resize(made);
    if (!this.at.has(this.focused)) {
      this.focused = this.#seenAs(this.store.state.layer) ?? this.seen[0]?.node.id;
    }
    this.at.get(this.focused)?.element.setAttribute("tabindex", "0");
    for (const [id, { element }] of this.at) if (id !== this.focused) element.setAttribute("tabindex", "-1");
    this.#marks();
    this.#soon("heads");
    if (focus) this.at.get(this.focused)?.element.focus({ preventScroll: true });
  }

  /** The id of the node that stands for a layer: its own, or the closed module around it. */
  #seenAs(number) {
    if (number === null || number === undefined || !this.tree.of[number]) return null;
    let at = this.tree.of[number];
    for (const up of this.tree.above(at)) if (!this.open.has(up.id)) at = up;
    return at.id;
  }

  /** What is chosen, pointed at, found, and on the way. */
  #marks() {
    const { page, layer, marks, through } = this.store.state;
    const way = layer === null || !marks.way ? new Set() : page.layers[layer].ancestors;
    const chosen = this.#seenAs(layer);
    const passed = new Set(through.map((number) => this.#seenAs(number)));
    const hits = new Set(this.found.numbers.map((number) => this.#seenAs(number)));
    const hit = this.#seenAs(this.found.numbers[this.found.at]);
    this.svg.classList.toggle("searching", this.found.text.trim() !== "");
    for (const [id, { node, element }] of this.at) {
      const exact = id === chosen && node.number === layer;
      const opened = node.opens && this.open.has(id);
      element.classList.toggle("chosen", exact);
      element.classList.toggle("holds", id === chosen && !exact);
      element.classList.toggle("through", passed.has(id));
      element.classList.toggle("match", hits.has(id) || opened);
      element.classList.toggle("hit", id === hit);
      const read =
        node.kind === "input" ? way.has(-1 - node.end) : node.numbers.some((number) => way.has(number));
      element.classList.toggle("way", read && !opened);
      element.setAttribute("aria-selected", String(exact));
    }
    const onWay = (number) => number === layer || way.has(number);
    for (const { element, pairs } of this.lines) {
      element.classList.toggle("way", marks.way && pairs.some(([a, b]) => onWay(b) && onWay(a)));
    }
    this.#pointed();
  }

  /** What is pointed at anywhere on the page, and the lines at it. */
  #pointed() {
    for (const element of this.hovered) element.classList.remove("pointed");
    const at = this.at.get(this.#seenAs(this.store.state.pointed));
    const lines = at ? this.lines.filter(({ from, to }) => from.node === at.node || to.node === at.node) : [];
    this.hovered = at ? [at.element, ...lines.map((line) => line.element)] : [];
    for (const element of this.hovered) element.classList.add("pointed");
  }

  // --- opening and closing

  #toggle(node, opened = !this.open.has(node.id)) {
    if (!node.opens || opened === this.open.has(node.id)) return;
    if (opened) this.open.add(node.id);
    else this.open.delete(node.id);
    this.lent.delete(node.id);
    for (const up of this.tree.above(node)) this.lent.delete(up.id);
    this.#anchored(node.id);
    const inside = opened ? `open, ${node.children.length} inside` : "closed";
    this.app.say(`${node.label.slice(0, 80)} ${inside}`);
  }

  /** Draws anew; the node `id` stays where it is on the screen. */
  #anchored(id) {
    const before = this.at.get(id)?.box;
    const place = this.sight.place();
    this.#draw();
    const after = this.at.get(id)?.box;
    if (before && after) this.sight.keep(place, before, after);
  }

  /** Opens what is around a layer chosen elsewhere, and brings it into view. */
  #reveal(number) {
    const node = this.tree.of[number];
    if (!node) return;
    const above = new Set(this.tree.above(node).map((up) => up.id));
    const size = this.open.size;
    let changed = false;
    for (const id of this.lent) {
      if (above.has(id)) continue;
      this.lent.delete(id);
      changed = this.open.delete(id) || changed;
    }
    for (const id of above) {
      if (this.open.has(id)) continue;
      this.open.add(id);
      this.lent.add(id);
    }
    this.focused = node.id;
    if (changed || this.open.size !== size) this.#draw();
    else this.#roving();
    this.#marks();
    this.#bring(node.id);
  }

  #bring(id) {
    const at = this.at.get(id);
    if (!at) return;
    const head = at.element.classList.contains("graph-head");
    this.sight.show(head ? { ...at.box, height: HEIGHT } : at.box);
  }

  #reset(open) {
    this.open = open;
    this.lent = new Set();
    this.#draw();
    this.#bring(this.focused);
  }

  #openLevel() {
    const closed = this.seen.map(({ node }) => node).filter((node) => node.opens && !this.open.has(node.id));
    let count = this.seen.length;
    let left = 0;
    if (!closed.length) return;
    for (const node of closed) {
      if (count + node.children.length > TOO_MANY) left += 1;
      else {
        count += node.children.length;
        this.open.add(node.id);
      }
    }
    this.#reset(this.open);
    this.app.say(left ? `${count} nodes are shown; ${left} modules stay closed` : `${count} nodes are shown`);
  }

  // --- pointing and choosing

  #node(event) {
    const element = event.target.closest?.(".graph-node");
    return element && this.at.get(element.dataset.id)?.node;
  }

  #click(event) {
    const node = this.#node(event);
    if (!node) return;
    this.#focus(node.id, false);
    if (event.target.closest("[data-opener]")) this.#toggle(node);
    else this.#choose(node);
  }

  #doubleClick(event) {
    const node = this.#node(event);
    if (node && !event.target.closest("[data-opener]")) this.#toggle(node);
  }

  #choose(node) {
    const { page, layer } = this.store.state;
    if (node.kind === "input") {
      // An input is shown where the chosen layer reads it.
      if (page.layers[layer]?.on(node.end).length) this.store.set({ source: node.end });
      return;
    }
    if (node.kind === "output") {
      this.store.choose(node.number);
      return;
    }
    this.choosing = true;
    this.store.choose(node.number);
    this.choosing = false;
  }

  #point(event) {
    const node = this.#node(event);
    this.store.set({ pointed: node && node.kind !== "input" ? node.number : null });
  }

  // --- the keyboard

  #roving() {
    for (const [id, { element }] of this.at) element.setAttribute("tabindex", id === this.focused ? "0" : "-1");
  }

  #focus(id, show = true) {
    if (!this.at.has(id)) return;
    this.focused = id;
    this.#roving();
    this.at.get(id).element.focus({ preventScroll: true });
    if (show) this.#bring(id);
  }

  #focusIn(event) {
    const node = this.#node(event);
    if (!node || this.redrawing) return;
    this.focused = node.id;
    this.#roving();
    if (event.target.matches(":focus-visible")) {
      this.#bring(node.id);
      this.#point(event);
    }
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const place = this.seen.findIndex(({ node }) => node.id === this.focused);
    if (place < 0) return;
    const { node } = this.seen[place];
    const go = (to) => this.#focus(this.seen[clamp(to, 0, this.seen.length - 1)].node.id);
    const opened = node.opens && this.open.has(node.id);
    const acts = {
      ArrowDown: () => go(place + 1),
      ArrowUp: () => go(place - 1),
      Home: () => go(0),
      End: () => go(this.seen.length - 1),
      ArrowRight: () => (opened ? go(place + 1) : this.#toggle(node, true)),
      ArrowLeft: () => {
        if (opened) this.#toggle(node, false);
        else if (node.parent !== this.tree.root) this.#focus(node.parent.id);
      },
      Enter: () => this.#choose(node),
      " ": () => this.#choose(node),
    };
    const letter = [...event.key].length === 1;
    if (!Object.hasOwn(acts, event.key) && !letter) return;
    event.preventDefault();
    if (Object.hasOwn(acts, event.key)) acts[event.key]();
    else this.#letter(event.key, place);
  }

  /** Typed letters go to the next node that begins with them. */
  #letter(letter, place) {
    const now = performance.now();
    const text = (now - this.typed.when < 700 ? this.typed.text : "") + letter.toLowerCase();
    this.typed = { text, when: now };
    const from = text.length > 1 ? place : place + 1;
    for (let k = 0; k < this.seen.length; k += 1) {
      const { node } = this.seen[(from + k) % this.seen.length];
      if (node.label.toLowerCase().startsWith(text)) {
        this.#focus(node.id);
        return;
      }
    }
  }

  // --- finding

  #search(text) {
    const { page } = this.store.state;
    this.found = { text, numbers: matching(page, text), at: 0 };
    this.#step(0);
  }

  #step(by) {
    const { text, numbers } = this.found;
    const { page } = this.store.state;
    if (numbers.length) this.found.at = (this.found.at + by + numbers.length) % numbers.length;
    this.#marks();
    if (!text.trim()) this.hits.textContent = "";
    else if (!numbers.length) this.hits.textContent = "No such layer";
    else {
      const { name } = page.layers[numbers[this.found.at]];
      this.hits.textContent = `${this.found.at + 1} of ${numbers.length}: ${name}`;
    }
    if (numbers.length) this.#bring(this.#seenAs(numbers[this.found.at]));
  }

  #searchKey(event) {
    const { numbers, at } = this.found;
    if (event.key === "Escape" && this.input.value) {
      this.input.value = "";
      this.#search("");
    } else if (event.key === "ArrowDown") this.#step(1);
    else if (event.key === "ArrowUp") this.#step(-1);
    else if (event.key === "Enter" && numbers.length) {
      const number = numbers[at];
      if (number === this.store.state.layer) this.#reveal(number);
      else this.store.choose(number);
    } else return;
    event.preventDefault();
  }
}
