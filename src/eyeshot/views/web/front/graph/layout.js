// Where everything stands: each opened module is laid out for itself, from top to bottom, by dagre.
//
// What enters an opened module comes in at its top edge, one port for each layer that is read (or one for all,
// where they are many), and what it hands on leaves at its bottom edge. So opening a module changes the inside
// of it and moves its surroundings, and never mixes them; and blocks that are alike are laid out once.

import dagre from "../vendor/dagre.js";
import { clamp } from "../scales.js";

export const HEAD = 30;
const PAD = 10;
const GAP = { rank: 24, node: 14, edge: 10 };
/** More ports than this at one edge of a module become one. */
const PORTS = 6;
/** Where lines cross more ranks than this in all, the long ones are drawn as arcs beside the nodes. */
const CROSSED = 40;

const key = (end) => `${end.node.id} ${end.port ?? ""}`;

/** The chain of opened modules around a layer's node that is seen, from the root down, and that node. */
function seenPath(tree, open, node) {
  const above = tree.above(node).reverse();
  const path = [tree.root];
  for (const up of above) {
    if (!open.has(up.id)) return { path, node: up };
    path.push(up);
  }
  return { path, node };
}

/** All steps that are drawn, by the module they are drawn in: Map node -> [{from, to, pairs}]. */
export function steps(tree, open) {
  const { page } = tree;
  const shown = tree.of.map((node) => seenPath(tree, open, node));
  const pairs = [];
  for (const layer of page.layers) {
    for (const parent of layer.parents) {
      const from = parent >= 0 ? shown[parent] : { path: [tree.root], node: tree.inputs[-1 - parent] };
      const to = shown[layer.number];
      if (from.node !== to.node) pairs.push({ from, to, pair: [parent, layer.number] });
    }
  }
  tree.outputs.forEach((node) => {
    pairs.push({ from: shown[node.end], to: { path: [tree.root], node }, pair: [node.end, node] });
  });
  return joined(tree, pairs);
}

function joined(tree, pairs) {
  const ports = { in: new Map(), out: new Map() };
  for (const one of pairs) {
    let shared = 0;
    const [a, b] = [one.from.path, one.to.path];
    while (shared + 1 < Math.min(a.length, b.length) && a[shared + 1] === b[shared + 1]) shared += 1;
    one.shared = shared;
    const note = (side, module) => {
      const known = ports[side].get(module) ?? new Set();
      ports[side].set(module, known.add(one.pair[0]));
    };
    for (const module of one.from.path.slice(shared + 1)) note("out", module);
    for (const module of one.to.path.slice(shared + 1)) note("in", module);
  }
  const portOf = (side, module, name) => (ports[side].get(module).size > PORTS ? "*" : String(name));
  const found = new Map([[tree.root, new Map()]]);
  const add = (module, from, to, pair) => {
    if (!found.has(module)) found.set(module, new Map());
    const name = `${key(from)} > ${key(to)}`;
    const step = found.get(module).get(name) ?? { from, to, pairs: [] };
    step.pairs.push(pair);
    found.get(module).set(name, step);
  };
  for (const { from, to, pair, shared } of pairs) {
    let here = { node: from.node };
    for (let k = from.path.length - 1; k > shared; k -= 1) {
      const module = from.path[k];
      const out = { node: module, port: `out ${portOf("out", module, pair[0])}` };
      add(module, here, { ...out, border: true }, pair);
      here = out;
    }
    let there = { node: to.node };
    const below = [];
    for (let k = to.path.length - 1; k > shared; k -= 1) {
      const module = to.path[k];
      const into = { node: module, port: `in ${portOf("in", module, pair[0])}` };
      below.push([module, { ...into, border: true }, there]);
      there = into;
    }
    add(to.path[shared], here, there, pair);
    for (const [module, a, b] of below.reverse()) add(module, a, b, pair);
  }
  return new Map([...found].map(([module, inner]) => [module, [...inner.values()]]));
}

/** The ranks of `count` things joined by [a, b]; `back` holds the joints that go round in a circle. */
function ranked(count, joints) {
  const next = Array.from({ length: count }, () => []);
  const waits = new Array(count).fill(0);
  joints.forEach(([a, b], k) => {
    next[a].push(k);
    waits[b] += 1;
  });
  const rank = new Array(count).fill(0);
  const done = new Array(count).fill(false);
  const back = new Set();
  const ready = [];
  for (let k = count - 1; k >= 0; k -= 1) if (!waits[k]) ready.push(k);
  for (let left = count, least = 0; left > 0; left -= 1) {
    if (!ready.length) {
      // A circle: the first of those that wait goes on.
      while (done[least]) least += 1;
      ready.push(least);
    }
    const at = ready.pop();
    done[at] = true;
    for (const k of next[at]) {
      const b = joints[k][1];
      if (done[b]) {
        back.add(k);
        continue;
      }
      rank[b] = Math.max(rank[b], rank[at] + 1);
      waits[b] -= 1;
      if (waits[b] === 0) ready.push(b);
    }
  }
  return { rank, back };
}

/**
 * Which joints dagre shall see: all, or where too many are long for each thing the nearest before and after it.
 */
function seenByDagre(joints, { rank, back }) {
  const span = ([a, b]) => rank[b] - rank[a];
  const kept = new Set();
  const before = new Map();
  const after = new Map();
  const forward = [...joints.keys()]
    .filter((k) => !back.has(k))
    .sort((a, b) => span(joints[a]) - span(joints[b]));
  const crossed = forward.reduce((sum, k) => sum + span(joints[k]) - 1, 0);
  if (crossed <= CROSSED) return new Set(forward);
  for (const k of forward) {
    const [a, b] = joints[k];
    const nearest = !before.has(b) || !after.has(a);
    if (!before.has(b)) before.set(b, k);
    if (!after.has(a)) after.set(a, k);
    if (nearest) kept.add(k);
  }
  return kept;
}

/** Layouts of insides that are alike, by what dagre is told. */
const MOST_KEPT = 400;

export class Layouts {
  #kept = new Map();

  /**
   * The places of all that is seen: {width, height, boxes: Map node -> box, lines: [{points, from, to, pairs,
   * arc}]}.
   */
  of(tree, open, measure) {
    const all = steps(tree, open);
    const made = this.#inside(tree.root, open, all, measure);
    const boxes = new Map();
    const lines = [];
    place(made, 0, 0, boxes, lines);
    return { width: made.width, height: made.height, boxes, lines };
  }

  #inside(module, open, all, measure) {
    const children = module.children.map((node) => {
      if (!node.opens || !open.has(node.id)) return { node, ...measure(node, false), inner: null };
      const inner = this.#inside(node, open, all, measure);
      return { node, width: inner.width, height: inner.height, inner };
    });
    const inner = all.get(module) ?? [];
    const items = children.map(({ width, height }) => [width, height]);
    const at = new Map(children.map((child, k) => [child.node, k]));
    const ports = new Map();
    for (const { from, to } of inner) {
      for (const end of [from, to]) {
        if (end.border && !ports.has(end.port)) {
          ports.set(end.port, items.length);
          items.push([2, 0, end.port.startsWith("in ") ? "in" : "out"]);
        }
      }
    }
    const index = (end) => (end.border ? ports.get(end.port) : at.get(end.node));
    const joints = inner.map(({ from, to }) => [index(from), index(to)]);
    const told = JSON.stringify([items, joints]);
    let placed = this.#kept.get(told);
    if (!placed) {
      placed = arranged(items, joints);
      if (this.#kept.size > MOST_KEPT) this.#kept.clear();
      this.#kept.set(told, placed);
    }
    return framed(module, children, inner, ports, placed, measure, joints);
  }
}

/** dagre's answer: {places: [[x, y]], lines: [points or null where it was not asked]}, x and y of middles. */
function arranged(items, joints) {
  const ranks = ranked(items.length, joints);
  const kept = seenByDagre(joints, ranks);
  const graph = new dagre.graphlib.Graph({ multigraph: true });
  graph.setGraph({ rankdir: "TB", ranksep: GAP.rank, nodesep: GAP.node, edgesep: GAP.edge });
  graph.setDefaultEdgeLabel(() => ({}));
  items.forEach(([width, height], k) => graph.setNode(String(k), { width, height }));
  for (const side of ["in", "out"]) {
    // Ports stand in one row, whatever is near to them.
    const row = items.flatMap((item, k) => (item[2] === side ? [k] : []));
    if (!row.length) continue;
    graph.setNode(side, { width: 0, height: 0 });
    for (const k of row) {
      const [a, b] = side === "in" ? [side, String(k)] : [String(k), side];
      graph.setEdge(a, b, { weight: 40 }, "row");
    }
    // What is read by nobody and reads nothing that is seen hangs on nothing: it belongs inside all the same.
    const joined = new Set(joints.filter((_, k) => kept.has(k)).map(([a, b]) => (side === "in" ? b : a)));
    items.forEach((item, k) => {
      if (item[2] || joined.has(k)) return;
      graph.setEdge(
        ...(side === "in" ? [side, String(k)] : [String(k), side]),
        { weight: 0, minlen: 2 },
        "row",
      );
    });
  }
  joints.forEach(([a, b], k) => {
    // Short steps are kept straight, so that a chain with things skipped past it is one column.
    const weight = ranks.rank[b] - ranks.rank[a] === 1 ? 4 : 1;
    if (kept.has(k)) graph.setEdge(String(a), String(b), { weight }, `j${k}`);
  });
  dagre.layout(graph);
  const places = items.map((_, k) => {
    const { x, y } = graph.node(String(k));
    return [x, y];
  });
  const lines = joints.map(([a, b], k) =>
    kept.has(k)
      ? graph
          .edge(String(a), String(b), `j${k}`)
          .points.slice(1, -1)
          .map(({ x, y }) => [x, y])
      : null,
  );
  return { places, lines, back: ranks.back };
}

const bulge = (height) => Math.min(110, 14 + height / 6);

/** The inside of a module with its frame around, from its own corner (0, 0). */
function framed(module, children, inner, ports, placed, measure, joints) {
  const root = module.parent === null;
  const boxes = children.map((child, k) => {
    const [x, y] = placed.places[k];
    return { x: x - child.width / 2, y: y - child.height / 2, width: child.width, height: child.height };
  });
  const portXs = [...ports.values()].map((k) => placed.places[k][0]);
  let left = Math.min(...boxes.map((box) => box.x), ...portXs);
  let right = Math.max(...boxes.map((box) => box.x + box.width), ...portXs);
  for (const points of placed.lines) {
    for (const [x] of points ?? []) {
      left = Math.min(left, x);
      right = Math.max(right, x);
    }
  }
  const top = Math.min(...boxes.map((box) => box.y));
  const bottom = Math.max(...boxes.map((box) => box.y + box.height));
  const lanes = { right, left };
  placed.lines.forEach((points, k) => {
    if (points) return;
    const [a, b] = joints[k].map((at) => placed.places[at][1]);
    if (placed.back.has(k)) left = Math.min(left, lanes.left - bulge(Math.abs(b - a)));
    else right = Math.max(right, lanes.right + bulge(Math.abs(b - a)));
  });
  const head = root ? 0 : HEAD;
  const hasIn = [...ports.keys()].some((name) => name.startsWith("in "));
  const hasOut = [...ports.keys()].some((name) => name.startsWith("out "));
  const dy = head + PAD + (hasIn ? GAP.rank / 2 : 0) - top;
  const least = root ? 0 : measure(module, true).width;
  const wide = Math.max(right - left + 2 * PAD, least);
  const dx = (wide - (right - left)) / 2 - left;
  const height = bottom + dy + PAD + (hasOut ? GAP.rank / 2 : 0);
  const moved = boxes.map((box) => ({ ...box, x: box.x + dx, y: box.y + dy }));
  const portX = new Map([...ports].map(([name, k]) => [name, placed.places[k][0] + dx]));
  const childAt = new Map(children.map((child, k) => [child.node, k]));
  const side = (end, starts) => {
    if (end.border) return { x: portX.get(end.port), y: starts ? head : height, fixed: true };
    const k = childAt.get(end.node);
    const box = moved[k];
    const port = children[k].inner?.portX.get(end.port);
    const x = box.x + (port ?? box.width / 2);
    return { x, y: starts ? box.y + box.height : box.y, fixed: port !== undefined, box };
  };
  const lines = inner.map(({ from, to, pairs }, k) => {
    const [a, b] = [side(from, true), side(to, false)];
    const middle = placed.lines[k]?.map(([x, y]) => [x + dx, y + dy]);
    const arc = middle ? null : placed.back.has(k) ? "back" : "skip";
    const points = middle
      ? [towards(a, middle[0]), ...middle, towards(b, middle.at(-1))]
      : arced(a, b, arc, lanes, dx);
    return { from, to, pairs, arc, points };
  });
  return {
    width: wide,
    height,
    children: children.map((child, k) => ({ ...child, box: moved[k] })),
    lines,
    portX,
  };
}

/** Where a line meets a box: nearer to where it comes from, not at the corners. */
function towards({ x, y, fixed, box }, [to]) {
  if (fixed || !box) return [x, y];
  const reach = Math.max(0, box.width / 2 - 16);
  return [x + clamp((to - x) / 2, -reach, reach), y];
}

/** From the side of one box around those between to the side of another: the four points of one curve. */
function arced(a, b, arc, lanes, dx) {
  const sign = arc === "back" ? -1 : 1;
  const edge = ({ x, y, box }) =>
    box ? [sign > 0 ? box.x + box.width : box.x, box.y + box.height / 2] : [x, y];
  const [from, to] = [edge(a), edge(b)];
  const far = (sign > 0 ? lanes.right : lanes.left) + dx + (sign * bulge(Math.abs(to[1] - from[1])) * 4) / 3;
  return [from, [far, from[1]], [far, to[1]], to];
}

function place(made, x, y, boxes, lines) {
  for (const child of made.children) {
    const at = { ...child.box, x: child.box.x + x, y: child.box.y + y };
    boxes.set(child.node, at);
    if (child.inner) place(child.inner, at.x, at.y, boxes, lines);
  }
  for (const line of made.lines) {
    lines.push({ ...line, points: line.points.map(([px, py]) => [px + x, py + y]) });
  }
}
