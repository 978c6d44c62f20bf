// Puts the page together. A report has its data in the document; the live page asks its server.

import * as head from "./head.js";
import * as facts from "./facts.js";
import * as graph from "./graph.js";
import * as field from "./field.js";
import * as growth from "./growth.js";
import * as findings from "./findings.js";
import * as table from "./table.js";
import * as exporting from "./export.js";
import * as lesson from "./lesson.js";
import * as foot from "./foot.js";
import { h } from "./dom.js";
import { follow } from "./place.js";
import { Page } from "./model.js";
import { START, Store } from "./store.js";

const VIEWS = { head, facts, graph, field, growth, findings, table, exporting, lesson, foot };
const SCHEMA = "eyeshot.page/1";

/**
 * What every view gets: mount(element, app).
 *
 * `actions` is the element in the head for buttons and menus of the whole page; `keys` lists what keys do, as
 * {where: "Field view", keys: ["←", "→"], text: "to the next unit"}: a view adds its own when it is mounted.
 */
export const app = {
  store: new Store(START),
  live: null,
  actions: null,
  keys: [],
  /** Says a short text to screen readers. */
  say(text) {
    document.getElementById("say").textContent = text;
  },
};

/** The data in the document; null where there is none. Throws what a person can read. */
function embedded() {
  const element = document.getElementById("page-data");
  if (!element) return null;
  let content;
  try {
    content = JSON.parse(element.textContent);
  } catch {
    throw new Error("Its data are damaged: the file may have been cut off.");
  }
  if (content?.schema !== SCHEMA) {
    throw new Error(`Its data are not of the kind that this page shows (${SCHEMA}).`);
  }
  try {
    return new Page(content);
  } catch (error) {
    throw new Error(`Its data do not fit together (${error.message}).`);
  }
}

/** One notice in the place of the page. */
function fail(error) {
  const main = document.getElementById("main");
  main.replaceChildren(
    h(
      "div",
      { class: "notice error", role: "alert" },
      h("h1", { text: "This page can't be shown" }),
      h("p", { text: error.message }),
      h("p", { class: "muted", text: "Make the report anew with: eyeshot report SOURCE -o report.html" }),
    ),
  );
  main.classList.add("failed");
}

/** Mounts a view. One that fails says so in its place, and the others stand. */
function mount(name, view) {
  const element = document.getElementById(name);
  try {
    view.mount(element, app);
  } catch (error) {
    console.error(error);
    element.replaceChildren(
      h("p", { class: "notice error", role: "alert", text: `This part can't be shown: ${error.message}` }),
    );
  }
}

/**
 * Links inside the page go to their place without a trace in the address, which holds the layer and the unit.
 */
function inside(event) {
  const link = event.target.closest?.("a[href^='#']");
  const target = link && document.getElementById(link.getAttribute("href").slice(1));
  if (!target) return;
  event.preventDefault();
  target.scrollIntoView();
  if (!target.hasAttribute("tabindex")) target.tabIndex = -1;
  target.focus({ preventScroll: true });
}

async function start() {
  const root = document.documentElement;
  const live = root.dataset.mode === "live";
  try {
    const page = embedded();
    if (!page && !live) throw new Error("It has no data in it.");
    if (page) app.store.show(page);
    if (page?.content.image) app.store.set({ image: page.content.image });
  } catch (error) {
    fail(error);
    root.dataset.ready = "failed";
    return;
  }
  document.addEventListener("click", inside);
  app.store.on(["page"], ({ page }) => entitle(page));
  entitle(app.store.state.page);
  for (const [name, view] of Object.entries(VIEWS)) mount(name, view);
  if (!live) follow(app.store);
  root.dataset.ready = "true";
  if (live) {
    const { start: begin } = await import("./live/main.js");
    await begin(app);
  }
}

function entitle(page) {
  if (page) document.title = `${page.called} · eyeshot`;
}

start();
