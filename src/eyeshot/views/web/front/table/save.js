// Out of the page: to the clipboard, or into a file of the reader's.

import { h } from "../dom.js";

/** Copies text. Files opened from disk may have no clipboard of their own: then a selection is copied. */
export async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return selected(text);
  }
}

function selected(text) {
  const before = document.activeElement;
  const area = h("textarea", { readonly: true, "aria-label": "Text to copy", tabindex: "-1", class: "unseen" });
  area.value = text;
  // In a modal dialog nothing outside can be selected.
  (before?.closest("dialog") ?? document.body).append(area);
  area.select();
  let done = false;
  try {
    done = document.execCommand("copy");
  } catch {
    // The caller says that it was refused.
  }
  area.remove();
  before?.focus({ preventScroll: true });
  return done;
}

/** A name for a file out of parts of any text: letters, digits, dots and dashes. */
export function fileName(parts, ending) {
  const safe = (part) =>
    part
      .normalize("NFKD")
      .replace(/[^A-Za-z0-9._-]+/g, "-")
      .replace(/-{2,}/g, "-")
      .replace(/^[-.]+|[-.]+$/g, "");
  const name = parts
    .map((part) => safe(part ?? "").slice(0, 60))
    .filter(Boolean)
    .join("-");
  return `${name || "network"}.${ending}`;
}

/** Hands a file to the browser to save. */
export function download(name, content, type) {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = h("a", { href: url, download: name, class: "unseen" });
  document.body.append(link);
  link.click();
  link.remove();
  // The browser has read the address by then; the picture itself stays until it is saved.
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}
