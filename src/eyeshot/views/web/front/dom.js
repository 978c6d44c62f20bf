// Small helpers for the document. Text always goes in as text: names of layers are never markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.setAttribute("class", value);
    else if (name === "text") element.textContent = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(
    ...children.flat().filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

/** An HTML element: h("button", { type: "button", onclick: f }, "Text", child). */
export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An SVG element, in the same way. */
export function s(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

let ids = 0;

/** An id that no other element has: views may stand in the document twice. */
export function fresh(kind) {
  ids += 1;
  return `${kind}-${ids}`;
}

/** A button that bears a layer's name; `more`: what it has besides or instead. */
export function nameButton(name, onclick, more = {}) {
  return h("button", { type: "button", class: "name", title: name, onclick, ...more }, name);
}
