// A view as a picture of its own: its drawings and the texts between them, with all styles written into the
// shapes.

const NS = "http://www.w3.org/2000/svg";
/** Drawings smaller than this are icons and do not make a view worth saving. */
const LEAST = 60;
/** Controls and hints, which a picture on paper does not need. */
const LEFT_OUT =
  "button:not(.name), input, select, textarea, summary, [hidden], .unseen, .tools, .pane-note, " +
  "[role=status], [role=alert], .no-print";
const MARGIN = 16;
/** What a browser's canvas can hold. */
const MAX_SIDE = 16000;
const MAX_AREA = 1.2e8;

const INHERITED = (
  "fill fill-opacity fill-rule stroke stroke-width stroke-opacity stroke-dasharray stroke-dashoffset " +
  "stroke-linecap stroke-linejoin font-family font-size font-weight font-style text-anchor " +
  "dominant-baseline visibility paint-order letter-spacing shape-rendering text-rendering " +
  "image-rendering marker-start marker-mid marker-end"
).split(" ");
const OWN = {
  opacity: "1",
  "clip-path": "none",
  mask: "none",
  filter: "none",
  "vector-effect": "none",
  "stop-color": null,
  "stop-opacity": null,
  overflow: null,
};
/** Attributes that mean nothing outside of the page. */
const FOREIGN = /^(class|style|role|tabindex|aria-.*|data-.*|on.*|focusable)$/;

/** Characters that XML can't hold, even escaped. */
const clean = (text) =>
  (text.toWellFormed?.() ?? text).replace(/[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, "\ufffd");

const made = (tag, attributes = {}) => {
  const element = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};

/** Writes what style sheets say of an element into its copy. */
function inline(from, to, above) {
  const style = getComputedStyle(from);
  if (style.display === "none") return null;
  for (const { name } of [...to.attributes]) if (FOREIGN.test(name)) to.removeAttribute(name);
  const values = {};
  for (const name of INHERITED) {
    values[name] = style.getPropertyValue(name);
    if (values[name] !== above?.[name]) to.setAttribute(name, values[name]);
    else to.removeAttribute(name);
  }
  for (const [name, initial] of Object.entries(OWN)) {
    const value = style.getPropertyValue(name);
    // Gradients have stops; elsewhere these two say nothing.
    if (initial === null) {
      if (from.tagName === "stop" && name.startsWith("stop")) to.setAttribute(name, value);
    } else if (value && value !== initial) to.setAttribute(name, value);
  }
  if (style.transform !== "none" && !from.hasAttribute("transform")) {
    to.setAttribute("transform", style.transform);
  }
  if (from.tagName === "rect" && style.rx !== "auto" && !from.hasAttribute("rx")) {
    to.setAttribute("rx", style.rx);
  }
  const children = [...from.childNodes];
  [...to.childNodes].forEach((child, k) => {
    if (child.nodeType === Node.TEXT_NODE) child.data = clean(child.data);
    else if (child.nodeType !== Node.ELEMENT_NODE || !inline(children[k], child, values)) child.remove();
  });
  return to;
}

/** Images become part of the picture: the reader's own photograph is an address of this page. */
async function embed(copy) {
  for (const image of copy.querySelectorAll("image")) {
    const href = image.getAttribute("href") ?? "";
    if (!href.startsWith("blob:")) continue;
    const found = new Image();
    found.src = href;
    try {
      await found.decode();
    } catch {
      image.remove();
      continue;
    }
    // No sharper than a screen shows it.
    const scale = Math.min(1, 2000 / Math.max(found.naturalWidth, found.naturalHeight));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(found.naturalWidth * scale));
    canvas.height = Math.max(1, Math.round(found.naturalHeight * scale));
    canvas.getContext("2d").drawImage(found, 0, 0, canvas.width, canvas.height);
    image.setAttribute("href", canvas.toDataURL("image/jpeg", 0.9));
  }
}

const visible = (element) =>
  element.checkVisibility?.({ visibilityProperty: true }) ?? element.getClientRects().length > 0;

/** The drawings of a section, its small signs among them; none where there is no real one. */
function drawings(section) {
  const all = [...section.querySelectorAll("svg, canvas")].filter(
    (one) => visible(one) && !one.parentElement.closest("svg") && !one.closest(LEFT_OUT),
  );
  const large = all.filter(
    (one) => Math.min(one.getBoundingClientRect().width, one.getBoundingClientRect().height) >= LEAST,
  );
  return large.length ? { all, large } : null;
}

/** Whether a section has something to save. */
export const drawable = (section) => Boolean(section && drawings(section));

/** The smallest element around all of these. */
function around(elements) {
  let found = elements[0].parentElement;
  while (!elements.every((element) => found.contains(element))) found = found.parentElement;
  return found;
}

/** The lines of text in an element as <text>, each where the page shows it. */
function texts(root) {
  const out = [];
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const parent = node.parentElement;
    if (!node.data.trim() || parent.closest("svg") || parent.closest(LEFT_OUT) || !visible(parent)) continue;
    const style = getComputedStyle(parent);
    let line = null;
    for (const { 0: word, index } of node.data.matchAll(/\S+/g)) {
      range.setStart(node, index);
      range.setEnd(node, index + word.length);
      const { left, top, right, bottom, width } = range.getBoundingClientRect();
      if (!width) continue;
      if (line && Math.abs(line.top - top) < 2) Object.assign(line, { text: `${line.text} ${word}`, right });
      else out.push((line = { text: word, left, top, right, bottom, style }));
    }
  }
  return out;
}

/**
 * A section as an SVG element of its own: {svg, width, height}; null where nothing is drawn.
 *
 * `title`: a line of text above. `light`: in the colours of the light theme. `natural`: one drawing, at the
 * size that it has of itself, however small it is shown. `also`: elements whose text and signs belong to the
 * picture.
 */
export async function picture(section, { title, light = true, natural = false, also = "" }) {
  const found = drawings(section);
  if (!found) return null;
  const still = new CSSStyleSheet();
  // What is on its way to another colour would be caught on the way.
  still.replaceSync("*, *::before, *::after { transition: none !important; animation: none !important; }");
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, still];
  // At the root, for text takes its colour from there; nothing of it is painted before it is as it was.
  const root = document.documentElement;
  const scheme = root.style.colorScheme;
  if (light) root.style.colorScheme = "light";
  let drawn;
  try {
    drawn = compose(section, found, { title, natural, also });
  } finally {
    root.style.colorScheme = scheme;
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((sheet) => sheet !== still);
  }
  await embed(drawn.svg);
  return drawn;
}

function compose(section, { all, large }, { title, natural, also }) {
  const alone = natural && large.length === 1;
  const roots = alone ? [] : [around(large), ...(also ? section.querySelectorAll(also) : [])];
  const parts = alone ? large : all.filter((one) => roots.some((root) => root.contains(one)));
  const words = roots.flatMap(texts);
  const rects = parts.map((one) => one.getBoundingClientRect());
  if (alone) {
    const { width, height } = large[0].viewBox?.baseVal ?? rects[0];
    rects[0] = { left: 0, top: 0, right: width || rects[0].width, bottom: height || rects[0].height };
  }
  const bounds = [...rects, ...words];
  const left = Math.min(...bounds.map((one) => one.left));
  const top = Math.min(...bounds.map((one) => one.top));
  const head = title ? 34 : 0;
  const style = getComputedStyle(section.querySelector(".panel") ?? section);
  const titled = clean(title ?? "");
  const wide = Math.max(titled.length * 7.5, Math.max(...bounds.map((one) => one.right)) - left);
  const width = Math.ceil(Math.min(wide, 6000) + 2 * MARGIN);
  const height = Math.ceil(Math.max(...bounds.map((one) => one.bottom)) - top + 2 * MARGIN + head);
  const svg = made("svg", { width, height, viewBox: `0 0 ${width} ${height}` });
  const paper = style.backgroundColor;
  svg.append(
    made("rect", {
      width,
      height,
      fill: /, 0\)$|transparent/.test(paper) ? getComputedStyle(document.body).backgroundColor : paper,
    }),
  );
  if (title) {
    const name = made("title");
    name.textContent = titled;
    const line = made("text", {
      x: MARGIN,
      y: MARGIN + 13,
      fill: style.color,
      "font-family": style.fontFamily,
      "font-size": 14,
      "font-weight": 600,
    });
    line.textContent = titled;
    svg.prepend(name);
    svg.append(line);
  }
  parts.forEach((part, k) => {
    const rect = rects[k];
    const place = {
      x: MARGIN + rect.left - left,
      y: MARGIN + head + rect.top - top,
      width: rect.right - rect.left,
      height: rect.bottom - rect.top,
    };
    svg.append(...placed(part, place));
  });
  for (const { text, left: x, top: y, bottom, style: of } of words) {
    const size = parseFloat(of.fontSize);
    const line = made("text", {
      x: MARGIN + x - left,
      y: MARGIN + head + y - top + (bottom - y) / 2 + size * 0.35,
      fill: of.color,
      "font-family": of.fontFamily,
      "font-size": of.fontSize,
      "font-weight": of.fontWeight,
      "font-style": of.fontStyle,
    });
    line.textContent = clean(text);
    svg.append(line);
  }
  return { svg, width, height };
}

/** One drawing at its place; the picture of a canvas is an image. */
function placed(part, place) {
  if (part instanceof HTMLCanvasElement) {
    return part.width && part.height ? [made("image", { ...place, href: part.toDataURL() })] : [];
  }
  const copy = inline(part, part.cloneNode(true), null);
  if (!copy) return [];
  for (const [name, value] of Object.entries(place)) copy.setAttribute(name, value);
  if (!copy.hasAttribute("viewBox")) copy.setAttribute("viewBox", `0 0 ${place.width} ${place.height}`);
  return [copy];
}

/** The text of an SVG file. */
export const asText = (svg) =>
  `<?xml version="1.0" encoding="UTF-8"?>\n${new XMLSerializer().serializeToString(svg)}\n`;

/** A PNG of a picture, twice as fine as on a screen, less where a browser can't hold that: {blob, scale}. */
export async function asPng({ svg, width, height }) {
  const scale = Math.min(2, MAX_SIDE / Math.max(width, height), Math.sqrt(MAX_AREA / (width * height)));
  const image = new Image();
  const text = new XMLSerializer().serializeToString(svg);
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((done) => {
    canvas.toBlob(done, "image/png");
  });
  if (!blob) throw new Error("the browser made no picture of it");
  return { blob, scale };
}
