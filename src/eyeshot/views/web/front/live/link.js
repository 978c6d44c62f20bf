// The address follows what is shown: the whole state stands behind its #, and Back and Forward go from
// network to network.

import { fromHash, LONGEST, SCHEMA, toHash } from "./state.js";

const QUIET = 250;

/** What makes two states show different networks, and not only another layer or edit of the same one. */
const identity = (state) =>
  JSON.stringify([state.source, state.compare?.source].map((s) => s && [s.kind, s.name, s.zoo, s.id]));

/**
 * Keeps the address up to date. `collect()` gives the state, `restore(state)` shows one, `complain(error)`
 * says what
 * is wrong with one. Gives {changed(), url(), read()}.
 */
export function addressed({ collect, restore, complain }) {
  let timer = 0;
  let last = null;
  let written = null;
  let quiet = false;

  async function write(here) {
    const state = collect();
    if (!state) return;
    const now = identity(state);
    const hash = await toHash(state);
    // Who has gone back or forward meanwhile is in another place, which is not to be written over.
    if (location.href !== here) return;
    // A state that no link can hold leaves no half of it in the address.
    const fits = hash.length <= LONGEST;
    const address = location.pathname + location.search + (fits ? `#${hash}` : "");
    if (address === written) return;
    written = address;
    if (last !== null && last !== now && !quiet) history.pushState(null, "", address);
    else history.replaceState(null, "", address);
    quiet = false;
    last = now;
  }

  addEventListener("hashchange", async () => {
    if (!location.hash.startsWith("#s=") || location.pathname + location.search + location.hash === written) {
      return;
    }
    try {
      const state = await fromHash(location.hash);
      written = location.pathname + location.search + location.hash;
      last = identity(state);
      quiet = true;
      restore(state);
    } catch (error) {
      complain(error);
    }
  });

  return {
    changed() {
      clearTimeout(timer);
      timer = setTimeout(write, QUIET, location.href);
    },
    /** A link to the state as it is; null where it is too long for one. */
    async url() {
      const hash = await toHash(collect());
      return hash.length <= LONGEST ? `${location.origin}${location.pathname}#${hash}` : null;
    },
    async read() {
      const state = await fromHash(location.hash);
      if (state) last = identity(state);
      return state;
    },
  };
}

/** The whole state of the page: the first network's, with the second's in it. */
export function wholeState(app, sessions) {
  const [a, b] = sessions;
  if (!a.content) return null;
  return { schema: SCHEMA, ...a.state(), marks: app.store.state.marks, compare: b?.content ? b.state() : null };
}
