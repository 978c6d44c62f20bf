// The layers of a network as a tree of modules, made from their names, and what is open of it at first.
//
// A name's parts end at slashes, and at dots where no slash comes before them (as in the library's tables).
// Names that share a prefix make a module, whether or not anything is called by that name. Where one module
// holds very many children, those that are alike and follow each other are folded to a run.

/** Where the parts of a name end; the same rule as `eyeshot.views.table`. */
function ends(name) {
  const slash = name.indexOf("/");
  const out = [];
  for (let k = 0; k < name.length; k += 1) {
    if (slash < 0 ? name[k] === "." : k > 0 && (name[k] === "/" || (name[k] === "." && k < slash))) out.push(k);
  }
  return out;
}

/**
 * Folding begins past this many children; at most MANY stand in one module, in runs of about CHUNK where
 * needed.
 */
const CALM = 24;
const MANY = 40;
const CHUNK = 16;
const ALIKE = 4;

class Node {
  constructor(kind, id, path) {
    this.kind = kind; // module, run, layer, input, output; the root is a module
    this.id = id;
    this.path = path;
    this.parent = null;
    this.children = [];
    this.numbers = []; // the layers inside, in order
    this.number = null; // a layer's own; of a module the one that comes out of it
    this.label = path;
    this.klass = "";
  }

  get first() {
    return this.numbers[0];
  }

  get opens() {
    return this.children.length > 0;
  }

  /** What is written beside the name: an operator, a class, or how much is inside. */
  get note() {
    if (!this.opens) return this.klass;
    const inner = this.members;
    const kinds = new Set(inner.map((child) => child.klass));
    if (inner.length > 1 && kinds.size === 1 && inner[0].klass) return `${inner.length} × ${inner[0].klass}`;
    return this.klass || this.count;
  }

  /** How much is inside, in words. */
  get count() {
    const inner = this.members;
    const blocks = inner.filter((child) => child.opens).length;
    return blocks > 1 && blocks === inner.length ? `${blocks} blocks` : `${this.numbers.length} layers`;
  }

  /** The children, those of runs among them in place of the runs. */
  get members() {
    return this.children.flatMap((child) => (child.kind === "run" ? child.members : [child]));
  }
}

function relative(path, parent) {
  if (path === parent) return path.slice((ends(path).at(-1) ?? -1) + 1);
  const inside = parent && path.startsWith(parent) && /^[./]$/.test(path[parent.length] ?? "");
  const rest = inside ? path.slice(parent.length) : path;
  return rest.replace(/^[./](?=.)/, "") || path;
}

function signature(node, page, seen) {
  if (!seen.has(node)) {
    const inner = node.numbers.map((number) => page.layers[number].op).join(" ");
    seen.set(node, `${node.children.length ? "m" : "l"} ${node.klass} ${inner}`);
  }
  return seen.get(node);
}

/** All about a network's modules: `root`, `byId`, `of` (number of a layer -> its node). */
export class Tree {
  constructor(page) {
    this.page = page;
    this.byId = new Map();
    this.of = [];
    this.root = new Node("module", "root", "");
    this.#modules();
    this.inputs = page.inputs.map((input, k) => this.#end("input", `i:${k}`, input.name, k));
    this.outputs = page.outputs.map((number, k) => {
      const name = page.outputs.length > 1 ? `output ${k + 1}` : "output";
      return this.#end("output", `o:${k}`, name, number);
    });
    this.#single(this.root);
    this.#settle(this.root);
    this.#fold(this.root);
    this.#register(this.root);
    this.#results();
    this.root.children = [...this.inputs, ...this.root.children, ...this.outputs];
    for (const end of [...this.inputs, ...this.outputs]) end.parent = this.root;
  }

  #end(kind, id, name, number) {
    const node = new Node(kind, id, name);
    node.klass = kind === "input" ? "input" : "";
    if (kind === "output") node.number = number;
    node.end = number;
    this.byId.set(id, node);
    return node;
  }

  #modules() {
    const modules = new Map([["", this.root]]);
    const paths = this.page.layers.map((layer) => layer.path ?? layer.name);
    for (const path of paths) {
      let above = this.root;
      for (const end of ends(path)) {
        const name = path.slice(0, end);
        if (!modules.has(name)) {
          const made = new Node("module", `m:${name}`, name);
          made.klass = this.page.groups.get(name) ?? "";
          made.parent = above;
          modules.set(name, made);
        }
        above = modules.get(name);
      }
    }
    const placed = new Set([this.root]);
    this.page.layers.forEach((layer, number) => {
      const path = paths[number];
      const at = ends(path).at(-1);
      const node = new Node("layer", `l:${number}`, path);
      // A layer may have the name of a module: it is what the module ends with.
      const home = modules.get(path) ?? (at === undefined ? this.root : modules.get(path.slice(0, at)));
      node.klass = layer.op;
      node.number = number;
      node.numbers = [number];
      this.of.push(node);
      // A module stands where its first layer stands.
      for (let child = node, up = home; up; child = up, up = up.parent) {
        if (!placed.has(child)) up.children.push(child);
        if (!placed.has(child)) child.parent = up;
        placed.add(child);
        up.numbers.push(number);
      }
    });
  }

  /** A module around one thing only is no step of its own. */
  #single(node) {
    node.children = node.children.map((child) => {
      let inner = child;
      while (inner.children.length === 1) inner = inner.children[0];
      inner.parent = node;
      this.#single(inner);
      return inner;
    });
  }

  #settle(node) {
    for (const child of node.children) {
      child.label = relative(child.path, node.path);
      this.#settle(child);
    }
  }

  #run(children, parent) {
    const numbers = children.flatMap((child) => child.numbers).sort((a, b) => a - b);
    const { path, name } = this.page.layers[numbers[0]];
    const run = new Node("run", `r:${path ?? name}+${numbers.length}`, parent.path);
    run.children = children;
    run.parent = parent;
    run.numbers = numbers;
    run.label = `${children[0].label} … ${children.at(-1).label}`;
    for (const child of children) child.parent = run;
    return run;
  }

  #fold(node) {
    for (const child of node.children) this.#fold(child);
    if (node.children.length <= CALM) return;
    const seen = new Map();
    this.#group(node, (child) => signature(child, this.page, seen), ALIKE);
    if (node.children.length <= MANY) return;
    // No modules to go by: stages are where the size of the map stays the same.
    this.#group(node, (child) => this.page.layers[child.numbers.at(-1)].extent.join(), ALIKE);
    if (node.children.length > MANY) this.#chunk(node);
  }

  #group(node, key, least) {
    const groups = [];
    for (const child of node.children) {
      if (groups.length && key(groups.at(-1)[0]) === key(child)) groups.at(-1).push(child);
      else groups.push([child]);
    }
    if (groups.length === 1) {
      this.#chunk(node);
      return;
    }
    node.children = groups.flatMap((group) => (group.length < least ? group : [this.#run(group, node)]));
    for (const child of node.children) {
      if (child.kind === "run" && child.children.length > MANY) this.#chunk(child);
    }
  }

  /** Folds children that are not alike, or all alike, to runs of about the same length. */
  #chunk(node) {
    const { children } = node;
    if (children.length <= CALM) return;
    const size = Math.max(CHUNK, Math.ceil(children.length / CALM));
    node.children = [];
    for (let at = 0; at < children.length; at += size) {
      const part = children.slice(at, at + size);
      const run = part.length > 1 ? this.#run(part, node) : part[0];
      node.children.push(run);
      if (size > MANY) this.#chunk(run);
    }
  }

  #register(node) {
    this.byId.set(node.id, node);
    for (const child of node.children) this.#register(child);
  }

  /** The layer that comes out of a module: the last one that is read outside. */
  #results() {
    const outputs = new Set(this.page.outputs);
    for (const node of this.byId.values()) {
      if (!node.opens) continue;
      const inside = new Set(node.numbers);
      const read = (number) => this.page.layers[number].children.some((child) => !inside.has(child));
      node.number =
        node.numbers.findLast((number) => outputs.has(number) || read(number)) ?? node.numbers.at(-1);
    }
  }

  /** Whether most of what another network is made of, at the top, is here too. */
  resembles(other) {
    const parts = (tree) =>
      tree.root.children.filter((node) => node.kind !== "input" && node.kind !== "output");
    const own = new Set(parts(this).map((node) => node.path));
    const old = parts(other);
    return old.filter((node) => own.has(node.path)).length * 2 > Math.max(old.length, own.size);
  }

  /** The ancestors of a node, the nearest first, without the root. */
  above(node) {
    const out = [];
    for (let up = node.parent; up && up !== this.root; up = up.parent) out.push(up);
    return out;
  }

  /** What is seen when the nodes in `open` are open, from top to bottom, opened ones before what is in them. */
  seen(open) {
    const out = [];
    const walk = (node, level) => {
      node.children.forEach((child, place) => {
        out.push({ node: child, level, place: place + 1, of: node.children.length });
        if (child.opens && open.has(child.id)) walk(child, level + 1);
      });
    };
    walk(this.root, 1);
    return out;
  }

  /** The ids to open at first: level by level, until there is something to see and before there is too much. */
  start(few = 8, many = 32) {
    const open = new Set();
    if (this.page.layers.length <= 20) {
      for (const node of this.byId.values()) if (node.opens) open.add(node.id);
      return open;
    }
    let shown = this.root.children.filter((child) => child.kind !== "input" && child.kind !== "output");
    while (shown.length < few || tangled(shown, this.page)) {
      const closed = shown.filter((node) => node.opens && shown.length - 1 + node.children.length <= many);
      if (!closed.length) break;
      const next = closed.reduce((a, b) => (b.numbers.length > a.numbers.length ? b : a));
      open.add(next.id);
      shown = shown.flatMap((node) => (node === next ? node.children : [node]));
    }
    return open;
  }
}

/** Whether closed modules feed each other in turn: encoders and pools kept in lists of their own. */
function tangled(shown, page) {
  const at = new Map(shown.flatMap((node, k) => node.numbers.map((number) => [number, k])));
  const next = shown.map(() => new Set());
  for (const layer of page.layers) {
    for (const parent of layer.parents) {
      if (parent >= 0 && at.get(parent) !== at.get(layer.number)) {
        next[at.get(parent)].add(at.get(layer.number));
      }
    }
  }
  const waits = shown.map(() => 0);
  for (const targets of next) for (const k of targets) waits[k] += 1;
  const ready = [...waits.keys()].filter((k) => waits[k] === 0);
  let done = 0;
  while (ready.length) {
    done += 1;
    for (const k of next[ready.pop()]) {
      waits[k] -= 1;
      if (waits[k] === 0) ready.push(k);
    }
  }
  return done < shown.length;
}
