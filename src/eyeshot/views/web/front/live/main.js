// The live page: what is asked of the server, and the bars to ask with.

import { h } from "../dom.js";
import { item, menu } from "../menu.js";
import { Page } from "../model.js";
import { download, fileName } from "../table/save.js";
import { aborted, catalog as fetchCatalog, report } from "./api.js";
import { second } from "./compare.js";
import { exact } from "./exact.js";
import { droppable, openFile } from "./files.js";
import { addressed, wholeState } from "./link.js";
import { question, Session } from "./session.js";
import { slot } from "./slot.js";
import { chooseNetwork } from "./sources.js";
import { StateError } from "./state.js";

const FIRST = "five-by-five";

/** Starts the live page; resolves when the first network is asked for. */
export async function start(app) {
  const place = document.getElementById("live");
  const toast = h("p", { class: "live-toast", role: "status" });
  const trouble = h("div", { class: "notice error live-trouble", role: "alert", hidden: true });
  place.append(trouble);
  let catalog;
  try {
    catalog = await fetchCatalog();
  } catch (error) {
    const again = h(
      "button",
      { type: "button", class: "button", onclick: () => location.reload() },
      "Try again",
    );
    trouble.append(h("p", { text: error.message }), again);
    trouble.hidden = false;
    return;
  }
  app.live = { catalog };
  app.lesson = catalog.lesson && new Page(catalog.lesson);
  const sessions = [new Session(app.store), null];
  let other = null;
  let saying = 0;

  /** A short word on what was done, seen and heard. */
  function say(text) {
    clearTimeout(saying);
    toast.textContent = text;
    toast.classList.add("shown");
    saying = setTimeout(() => toast.classList.remove("shown"), 4000);
  }

  function complain(error) {
    if (aborted(error)) return;
    trouble.replaceChildren(
      h("p", { text: error.message }),
      h("button", { type: "button", class: "button small", onclick: () => (trouble.hidden = true) }, "Close"),
    );
    trouble.hidden = false;
  }

  /** The text of a network that is a spec without being the user's own yet. */
  function specText(source) {
    if (source?.kind === "example") {
      const found = catalog.examples.find(({ name }) => name === source.name);
      return found ? { kind: "spec", text: found.text, format: "yaml" } : null;
    }
    if (source?.kind === "given" && catalog.given?.spec) {
      return { kind: "spec", text: catalog.given.spec, format: catalog.given.format ?? "yaml" };
    }
    return null;
  }

  async function files(list, session = sessions[0]) {
    trouble.hidden = true;
    try {
      if (list.length > 1) throw new StateError("Open one file at a time; compare two with “Compare”.");
      if (!list.length) return;
      const found = await openFile(list[0], catalog.limits);
      if (found?.state) restore(found.state);
      else if (found) session.change({ source: found.opened, input: "", axes: "" });
    } catch (error) {
      complain(error);
    }
  }

  /** One editor stands beside the picture where there is room; two stand above their own, and a note on top. */
  function beside() {
    document.body.toggleAttribute("data-editing", one.editor.opened && !sessions[1]);
  }

  // --- the second network

  function compareWith(content, wish = null) {
    if (!sessions[1]) {
      other ??= { ...second(app), slot: null };
      const session = new Session(other.app.store);
      sessions[1] = session;
      other.slot = slot(other.app, session, { catalog, files, specText, letter: "B", closed: endCompare });
      if (!other.exact) exact(other.sections.field, other.app, () => sessions[1]);
      other.exact = true;
      slots.append(other.slot.element);
      follow(session, other.app.store);
      session.addEventListener("shown", () => other.show(true, !wish), { once: true });
    }
    place.dataset.compare = "true";
    app.other = other.app;
    one.letter(true);
    other.slot.letter(true);
    compare.disabled = true;
    beside();
    sessions[1].change(content, { wish });
  }

  function endCompare() {
    sessions[1]?.stop();
    sessions[1] = null;
    other?.slot?.element.remove();
    other?.show(false);
    app.other = null;
    delete place.dataset.compare;
    one.letter(false);
    compare.disabled = false;
    beside();
    compare.focus();
    address.changed();
  }

  const compare = h("button", {
    type: "button",
    class: "button",
    title: "Another network beside this one",
    onclick: () => chooseNetwork({
      title: "Choose a network to compare with",
      catalog,
      pick: (source) => compareWith({ source, input: "", axes: "" }),
      files: async (list) => {
        const found = await openFile(list[0], catalog.limits).catch(complain);
        if (found?.opened) compareWith({ source: found.opened, input: "", axes: "" });
      },
    }),
  }, "Compare…");

  // --- states

  function restore(state) {
    trouble.hidden = true;
    const content = ({ source, input, axes }) => ({ source: resolved(source), input, axes });
    app.store.set({ marks: { ...app.store.state.marks, ...state.marks } });
    sessions[0].change(content(state), { wish: state });
    if (state.compare) compareWith(content(state.compare), state.compare);
    else if (sessions[1]) endCompare();
  }

  /** What the command line of another run named is not here. */
  function resolved(source) {
    if (source.kind !== "given" || (catalog.given && (!source.title || source.title === catalog.given.title))) {
      return source;
    }
    complain(
      new StateError(
        `This state shows ${source.title || "a network"}, which this server was not started with: eyeshot ` +
        "explore SOURCE.",
      ),
    );
    return sessions[0].content?.source ?? { kind: "example", name: FIRST };
  }

  const address = addressed({ collect: () => wholeState(app, sessions), restore, complain });

  /** Follows a session: its edits and choices go into the address. */
  function follow(session, store) {
    for (const type of ["content", "shown"]) session.addEventListener(type, address.changed);
    if (!store.live) store.on(["layer", "unit", "source", "through", "marks"], address.changed);
    store.live = true;
    session.addEventListener("fault", () => session.fault?.lost && askForFile(session));
  }

  function askForFile(session) {
    const { source } = session.content;
    if (source.kind !== "upload") return;
    const file = h("input", {
      type: "file",
      class: "unseen",
      accept: ".onnx",
      tabindex: "-1",
      "aria-label": `Choose ${source.name}`,
      onchange: () => files([...file.files], session),
    });
    trouble.replaceChildren(
      h("p", { text: `The server no longer has ${source.name ?? "the file"}. Open it again to go on.` }),
      file,
      h(
        "button",
        { type: "button", class: "button small", onclick: () => file.click() },
        `Open ${source.name ?? "it"}…`,
      ),
    );
    trouble.hidden = false;
  }

  async function copyLink() {
    const url = await address.url();
    if (!url) {
      complain(new StateError("This state is too long for a link. Save it as a file instead."));
      return;
    }
    try {
      await navigator.clipboard.writeText(url);
      say("Link copied. It holds the whole state.");
    } catch {
      showLink(url);
    }
  }

  function showLink(url) {
    const field = h("input", { readonly: true, value: url, "aria-label": "Link to this state" });
    trouble.replaceChildren(
      h("p", { text: "The browser keeps the clipboard closed. Copy the link from here:" }),
      field,
      h("button", { type: "button", class: "button small", onclick: () => (trouble.hidden = true) }, "Close"),
    );
    trouble.hidden = false;
    field.select();
  }

  function saveState() {
    const state = wholeState(app, sessions);
    const name = fileName([app.store.state.page?.title], "eyeshot.json");
    download(name, JSON.stringify(state, null, 1), "application/json");
    say("State saved.");
  }

  /** What is to be exported: {session, editor, title} of the one network, or of the second. */
  function exported() {
    const k = app.exports.second() ? 1 : 0;
    const { page } = sessions[k].store.state;
    return { session: sessions[k], editor: [one, other?.slot][k].editor, title: page?.title };
  }

  async function saveReport() {
    say("Making the report…");
    try {
      const { session, title } = exported();
      download(fileName([title], "html"), await report(question(session.content, session.rate)));
      say("Report saved: one file that needs no server.");
    } catch (error) {
      complain(error);
    }
  }

  function saveSpec() {
    const { editor, title } = exported();
    const spec = editor.spec();
    if (!spec) {
      complain(new StateError("This network is no spec, so there is no spec to save."));
      return;
    }
    download(fileName([title], spec.format), spec.text, "text/plain");
    say("Spec saved.");
  }

  // --- the page

  const opening = h("input", {
    type: "file", class: "unseen", accept: ".json", tabindex: "-1", "aria-label": "Choose a saved state",
    onchange: () => files([...opening.files]).then(() => (opening.value = "")),
  });
  const keep = menu("Share", [
    item("Copy link", copyLink),
    item("Save state", saveState),
    item("Open state…", () => opening.click()),
  ]);
  const away = [
    h("p", { class: "muted", text: "The whole" }), item("Report (HTML)", saveReport), item("Spec", saveSpec),
  ];
  const one = slot(app, sessions[0], { catalog, files, specText, letter: "A", opened: beside });
  const slots = h("div", { class: "slots" }, one.element);
  app.actions.prepend(compare, keep);
  app.exports.add(away);
  place.prepend(slots, opening, toast);
  follow(sessions[0], app.store);
  exact(document.getElementById("field"), app, () => sessions[0]);
  droppable(files);
  addEventListener("keydown", (event) => undoKeys(event, sessions));

  let state = null;
  try {
    state = await address.read();
  } catch (error) {
    complain(error);
  }
  if (state) restore(state);
  else if (catalog.given) {
    sessions[0].change({ source: { kind: "given", title: catalog.given.title }, input: "", axes: "" });
  } else sessions[0].change({ source: { kind: "example", name: FIRST }, input: "", axes: "" });
  app.openExample = (name) => sessions[0].change({ source: { kind: "example", name }, input: "", axes: "" });
  // The lesson opens where the address asks for it, and by itself on the first visit.
  if (trouble.hidden) app.firstLesson?.(!state && !catalog.given);
}

/** Ctrl+Z outside of text fields; in them the browser's own undo does what it always does. */
function undoKeys(event, sessions) {
  if (!(event.ctrlKey || event.metaKey) || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.closest?.("textarea, input:not([type=checkbox], [type=radio], [type=range])")) return;
  const key = event.key.toLowerCase();
  const back = key === "z" && !event.shiftKey;
  if (!back && key !== "y" && !(key === "z" && event.shiftKey)) return;
  const inSecond = event.target.closest?.(".second, .slot[aria-label='Network B']");
  const session = (inSecond && sessions[1]) || sessions[0];
  event.preventDefault();
  if (back) session.undo();
  else session.redo();
}
