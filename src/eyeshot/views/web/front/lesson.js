// How fields come about: the article's example, step by step, in a dialog. It opens from the head of the page,
// by the address #lesson (or #lesson-3, a step), and by itself on the first visit of the live page.

import { dialog } from "./dialog.js";
import { h } from "./dom.js";
import { fromPage } from "./lesson/arithmetic.js";
import { steps } from "./lesson/steps.js";
import { Page } from "./model.js";
import { clamp } from "./scales.js";

const SEEN = "eyeshot.lesson";

/** The data of the example: in a report beside the page's, live as the server's catalogue has it. */
function data(app) {
  if (app.lesson) return app.lesson instanceof Page ? app.lesson : new Page(app.lesson);
  const element = document.getElementById("lesson-data");
  const content = element && JSON.parse(element.textContent);
  return content && new Page(content);
}

/** The step that an address asks for, from 0; null where it does not ask for the lesson. */
function asked(hash) {
  const found = /^#lesson(?:[-=/]?(\d{1,2}))?$/.exec(hash);
  return found && Math.max(0, Number(found[1] ?? 1) - 1);
}

/** Whether this browser has seen the lesson; yes, where it can't say. */
function seen() {
  try {
    if (localStorage.getItem(SEEN)) return true;
    localStorage.setItem(SEEN, "seen");
    // What was not kept would open at every visit.
    return !localStorage.getItem(SEEN);
  } catch {
    return true;
  }
}

/**
 * Mounts the lesson: `app.openLesson(step)` shows it, from the first step or the one that is named (from 0);
 * `app.firstLesson(unasked)`, for the live page, does so where the address asks for it, and `unasked` on the
 * first visit of this browser alone. Both say whether it is shown.
 */
export function mount(element, app) {
  let shown = null;

  app.openLesson = (step = 0) => {
    const page = data(app);
    if (!page || shown) return false;
    shown = lesson(page, app, step);
    shown.element.addEventListener("close", () => {
      shown = null;
      if (asked(location.hash) === null) return;
      try {
        history.replaceState(null, "", `${location.pathname}${location.search}`);
      } catch {
        // Then the address keeps naming the lesson.
      }
    });
    return true;
  };
  app.firstLesson = (unasked = true) => {
    const step = asked(location.hash);
    if (step !== null) return app.openLesson(step);
    return unasked && data(app) !== null && !seen() && app.openLesson();
  };

  if (app.live || document.documentElement.dataset.mode === "live" || data(app)) {
    app.actions?.append(
      h(
        "button",
        { type: "button", class: "button", onclick: () => app.openLesson() },
        "How fields come about",
      ),
    );
  }
  app.keys?.push(
    { where: "How fields come about", keys: ["←", "→"], text: "to the next step" },
    { where: "How fields come about", keys: ["P"], text: "plays or pauses the walk" },
  );
  const go = () => {
    const step = asked(location.hash);
    if (step === null) return;
    if (shown) shown.go(step);
    else app.openLesson(step);
  };
  window.addEventListener("hashchange", go);
  go();
}

/** Shows the dialog: {element, go(step)}. */
function lesson(page, app, begin) {
  const all = steps(fromPage(page), app);
  let at = 0;
  let part = null;
  const status = h("p", { class: "unseen", role: "status" });
  const say = (text) => {
    status.textContent = text;
  };
  const marks = all.map(({ title }, k) =>
    h(
      "li",
      {},
      h(
        "button",
        {
          type: "button",
          class: "button",
          title,
          "aria-label": `Step ${k + 1}: ${title}`,
          onclick: () => go(k),
        },
        String(k + 1),
      ),
    ),
  );
  const heading = h("h3", { class: "lesson-title" });
  const drawn = h("div", { class: "lesson-drawn" });
  const words = h("div", { class: "lesson-words" });
  const back = h("button", { type: "button", class: "button", onclick: () => go(at - 1) }, "Back");
  const next = h("button", {
    type: "button",
    class: "button main",
    autofocus: true,
    onclick: () => (at < all.length - 1 ? go(at + 1) : shown.close()),
  });
  const tally = h("span", { class: "muted numbers" });
  const shown = dialog("How fields come about", [heading, h("div", { class: "lesson-step" }, drawn, words)], {
    wide: true,
  });
  const foot = h(
    "div",
    { class: "lesson-foot" },
    back,
    h("ol", { class: "lesson-marks", "aria-label": "Steps" }, marks),
    tally,
    next,
    status,
  );
  shown.element.classList.add("lesson");
  shown.element.append(foot);

  function go(to) {
    const step = clamp(to, 0, all.length - 1);
    part?.stop?.();
    const focused = back === document.activeElement && step === 0;
    at = step;
    heading.textContent = all[at].title;
    part = all[at].build(say);
    drawn.replaceChildren(part.drawn);
    words.replaceChildren(...part.words);
    marks.forEach((mark, k) => mark.firstChild.setAttribute("aria-current", k === at ? "step" : "false"));
    back.disabled = at === 0;
    next.textContent = at < all.length - 1 ? "Next" : "Look at this network";
    tally.textContent = `${at + 1} of ${all.length}`;
    shown.body.scrollTop = 0;
    // A button that is switched off loses the focus to the page behind.
    if (focused) next.focus();
    say(`Step ${at + 1} of ${all.length}: ${all[at].title}`);
    if (asked(location.hash) !== null) {
      try {
        history.replaceState(null, "", `#lesson-${at + 1}`);
      } catch {
        // Files may be forbidden to change their address.
      }
    }
  }

  shown.element.addEventListener("keydown", (event) => {
    if (
      event.defaultPrevented ||
      event.altKey ||
      event.ctrlKey ||
      event.metaKey ||
      event.target.matches("input")
    )
      return;
    if (event.key === "ArrowRight" || event.key === "PageDown") go(at + 1);
    else if (event.key === "ArrowLeft" || event.key === "PageUp") go(at - 1);
    else if (event.key.toLowerCase() === "p" && part.toggle) part.toggle();
    else return;
    event.preventDefault();
  });
  shown.element.addEventListener("close", () => part?.stop?.());
  go(begin);
  shown.open();
  next.focus();
  return { element: shown.element, go };
}
