// One network that is looked at: what is asked for, its history, and the answers as they come.

import { Page } from "../model.js";
import { aborted, ask, Fault } from "./api.js";

const STEPS = 200;
const CHARACTERS = 8_000_000;
/** Keys typed within this time of each other are one step back. */
const TOGETHER = 900;
const IDLE = 350;

const weight = (content) => content.source.text?.length ?? 100;

/** The question of a content as the server wants it. */
export function question({ source, input, axes }, rate) {
  const asked = { source: { ...source } };
  if (source.kind === "upload") delete asked.source.name;
  if (source.kind === "given") delete asked.source.title;
  if (input) asked.input = lines(input);
  if (axes) asked.axes = axes;
  if (rate) asked.rate = rate;
  return asked;
}

/** `3x224x224`, or `left=1x64 right=1x64` as a mapping, as the command line has it. */
function lines(text) {
  const parts = text.trim().split(/[\s;]+(?=[^=\s;]+=)/);
  if (!parts.every((part) => part.includes("="))) return text.trim();
  return Object.fromEntries(
    parts.map((part) => {
      const at = part.lastIndexOf("=");
      return [part.slice(0, at), part.slice(at + 1)];
    }),
  );
}

/**
 * Holds {source, input, axes} and shows what the server makes of it in `store`.
 * Events: "content" (what is asked has changed), "busy", "fault" (an error has come or gone), "shown".
 */
export class Session extends EventTarget {
  content = null;
  /** What the picture on the page is the answer to. */
  answered = null;
  fault = null;
  busy = false;
  rate = null;
  /** "input" or "axes" where that alone was changed last, so that an error is shown there. */
  last = null;
  /** Whether what is asked for is an edit of what was asked for before, and not another network. */
  edited = false;
  #past = [];
  #future = [];
  #changed = { at: 0, kind: null };
  #request = null;
  #timer = 0;
  #checking = 0;
  #wish = null;

  constructor(store) {
    super();
    this.store = store;
  }

  #tell(type) {
    this.dispatchEvent(new Event(type));
  }

  /**
   * Changes what is asked. `kind` names the sort of edit: those of one sort that follow each other are one
   * step.
   */
  change(patch, { kind = null, wish = null, delay = 0 } = {}) {
    const next = { ...(this.content ?? { input: "", axes: "" }), ...patch };
    const now = performance.now();
    const along = kind !== null && kind === this.#changed.kind && now - this.#changed.at < TOGETHER;
    if (this.content && !along) this.#past.push(this.content);
    this.#future = [];
    this.#bound();
    this.#changed = { at: now, kind };
    this.edited = kind !== null || !patch.source || patch.source.kind === "spec";
    const keys = Object.keys(patch);
    this.last = keys.length === 1 && keys[0] !== "source" ? keys[0] : null;
    this.#ask(next, wish, delay);
  }

  #bound() {
    let total = 0;
    let keep = 0;
    for (const content of this.#past.toReversed()) {
      total += weight(content);
      if (keep >= STEPS || total > CHARACTERS) break;
      keep += 1;
    }
    this.#past.splice(0, this.#past.length - keep);
  }

  #ask(content, wish, delay) {
    this.content = content;
    this.#wish = wish ?? this.#wish;
    this.#tell("content");
    this.analyze(delay);
  }

  get undoable() {
    return this.#past.length > 0;
  }

  get redoable() {
    return this.#future.length > 0;
  }

  undo() {
    this.#step(this.#past, this.#future);
  }

  redo() {
    this.#step(this.#future, this.#past);
  }

  #step(from, to) {
    if (!from.length) return;
    to.push(this.content);
    this.#changed = { at: 0, kind: null };
    this.last = null;
    this.#ask(from.pop(), null, 0);
  }

  /** Asks the server again; what was asked before is given up, and only then `delay` ms are waited for more. */
  analyze(delay = 0) {
    const wait = this.busy ? delay : 0;
    clearTimeout(this.#timer);
    clearTimeout(this.#checking);
    this.#request?.abort();
    this.#request = new AbortController();
    const { signal } = this.#request;
    if (!this.busy) {
      this.busy = true;
      this.#tell("busy");
    }
    this.#timer = setTimeout(() => this.#run(signal), wait);
  }

  async #run(signal) {
    const { content } = this;
    const asked = question(content, this.rate);
    try {
      const { page } = await ask("analyze", asked, signal);
      if (signal.aborted) return;
      this.answered = content;
      this.#settle(null);
      this.#show(new Page(page));
      this.#checking = setTimeout(() => this.#check(asked, signal), IDLE);
    } catch (error) {
      if (aborted(error) || signal.aborted) return;
      this.#settle(
        error instanceof Fault ? error : new Fault({ message: String(error.message ?? error) }, "page"),
      );
    }
  }

  #settle(fault) {
    this.busy = false;
    this.fault = fault;
    // The page that stays was to be checked, and now will not be.
    const { page } = this.store.state;
    if (fault && page?.checking) this.#found(page.stale ? null : page.content.findings);
    this.#tell("busy");
    this.#tell("fault");
  }

  #show(page) {
    const wish = this.#wish;
    this.#wish = null;
    // Until this version is checked, what was found before it stands, so that the page does not flicker.
    const { page: before } = this.store.state;
    page.checking = true;
    if (this.edited && before) {
      page.findings = before.findings;
      page.content.findings = before.content.findings;
      page.stale = Boolean(before.findings);
    }
    this.store.show(page);
    const found = wish && page.byName.get(wish.layer);
    if (found) {
      this.store.choose(found.number, wish.unit ?? undefined);
      const patch = {};
      if (wish.shown < page.inputs.length && found.on(wish.shown).length) patch.source = wish.shown;
      patch.through = (wish.through ?? [])
        .map((name) => page.byName.get(name)?.number)
        .filter((n) => n !== undefined);
      this.store.set(patch);
    }
    this.#tell("shown");
  }

  async #check(asked, signal) {
    try {
      const { findings } = await ask("check", asked, signal);
      if (signal.aborted) return;
      this.#found(findings);
    } catch (error) {
      // The picture stands without them; the page says so where findings would be.
      if (!aborted(error) && !signal.aborted) this.#found(null);
    }
  }

  #found(findings) {
    const { page } = this.store.state;
    page.content.findings = findings;
    page.findings = findings?.findings ?? null;
    page.checking = page.stale = false;
    // Another value than that of a page that has not been checked yet.
    this.store.set({ findings: page.findings ?? undefined });
  }

  /** Gives up what is under way; the last picture stays. */
  cancel() {
    clearTimeout(this.#timer);
    this.#request?.abort();
    this.#settle(new Fault({ message: "Cancelled. The picture is that of the last answer." }, "cancelled"));
  }

  /** Ends for good: the network is taken off the page. */
  stop() {
    clearTimeout(this.#timer);
    clearTimeout(this.#checking);
    this.#request?.abort();
  }

  /** What has to be kept to come back here. */
  state() {
    const { page, layer, unit, source: shown, through } = this.store.state;
    const chosen = page && layer !== null ? page.layers[layer] : null;
    return {
      ...this.content,
      layer: chosen?.name ?? null,
      unit: chosen ? unit : null,
      shown,
      through: page ? (through ?? []).map((number) => page.layers[number].name) : [],
    };
  }
}
