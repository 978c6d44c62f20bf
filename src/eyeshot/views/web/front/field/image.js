// The user's own image behind the input. It is read by the browser alone and never leaves the page.

import { h } from "../dom.js";

/** Reads an image file: {url, width, height, name}. Throws an Error that says what is wrong. */
async function read(file) {
  const url = URL.createObjectURL(file);
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
  } catch {
    URL.revokeObjectURL(url);
    throw new Error(`${file.name}: this browser can't read it as an image`);
  }
  return { url, width: image.naturalWidth || 1, height: image.naturalHeight || 1, name: file.name };
}

/** Controls for the image: {element, said}; files may also be dropped on `target`. */
export function imageTools(app, target) {
  const { store } = app;
  const said = h("p", { class: "image-said small", role: "alert", hidden: true });
  const file = h("input", {
    type: "file",
    accept: "image/*",
    hidden: true,
    "aria-label": "Image file",
    onchange: () => take(file.files[0]),
  });
  const use = h("button", {
    type: "button",
    class: "button small",
    text: "Use an image…",
    onclick: () => file.click(),
  });
  const dim = h("button", {
    type: "button", class: "button small", text: "Dim the rest", title: "Dims what the unit does not read",
    onclick: () => store.set({ dim: store.state.dim === false }),
  });
  const none = h("button", {
    type: "button",
    class: "button small",
    text: "Remove image",
    onclick: () => store.set({ image: null }),
  });

  async function take(chosen) {
    file.value = "";
    if (!chosen) return;
    said.hidden = true;
    try {
      store.set({ image: await read(chosen) });
    } catch (error) {
      said.textContent = error.message;
      said.hidden = false;
    }
  }

  const files = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  target.addEventListener("dragover", (event) => {
    if (!files(event)) return;
    event.preventDefault();
    target.classList.add("dropping");
  });
  target.addEventListener("dragleave", () => target.classList.remove("dropping"));
  target.addEventListener("drop", (event) => {
    target.classList.remove("dropping");
    if (!files(event)) return;
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });

  function show({ image, dim: dimmed }) {
    dim.hidden = none.hidden = !image;
    dim.setAttribute("aria-pressed", String(dimmed !== false));
    use.title = image
      ? `${image.name}, ${image.width} × ${image.height}; the shorter side fits, the rest is cut off evenly`
      : "Drawn behind the input. It stays in this browser.";
  }
  store.on(["image", "dim"], show);
  show(store.state);
  return { element: h("span", { class: "image-tools" }, use, file, dim, none), said };
}
