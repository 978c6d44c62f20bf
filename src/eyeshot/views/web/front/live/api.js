// Talks to the server. Every request carries its whole question, so nothing is kept there that could be lost.

/** What went wrong, in words for the user. `line`, `column` (from 1) and `layer` say where, if known;
 * `lost`: an uploaded file that the server no longer has. */
export class Fault extends Error {
  constructor({ message, line = null, column = null, layer = null, lost = false }, kind = "source") {
    super(message);
    Object.assign(this, { line, column, layer, lost, kind });
  }
}

const WAITS = [400, 1200, 2500];

/** Whether an error only says that the request was given up. */
export const aborted = (error) => error?.name === "AbortError";

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(new DOMException("given up", "AbortError"));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}

async function once(path, options) {
  try {
    return await fetch(path, { credentials: "omit", cache: "no-store", ...options });
  } catch (error) {
    if (aborted(error)) throw error;
    throw new Fault({ message: "The server does not answer. Is “eyeshot explore” still running?" }, "gone");
  }
}

/** The answer of a request as a Response, when it is not an error; waits while the server is busy. */
async function request(path, options) {
  for (let tries = 0; ; tries += 1) {
    const answer = await once(path, options);
    if (answer.ok) return answer;
    if ((answer.status === 503 || answer.status === 429) && tries < WAITS.length) {
      const asked = Number(answer.headers.get("retry-after")) * 1000;
      await pause(Math.min(asked > 0 ? asked : WAITS[tries], 10000), options?.signal);
      continue;
    }
    throw await refused(answer);
  }
}

async function refused(answer) {
  let error = null;
  try {
    ({ error } = await answer.json());
  } catch {
    // Not ours to read: the status has to do.
  }
  const busy = answer.status === 503 || answer.status === 429;
  const kind = busy ? "busy" : answer.status === 504 ? "slow" : "source";
  const message = busy
    ? "The server is busy with other networks."
    : `The server refused (status ${answer.status}).`;
  return new Fault(error ?? { message }, kind);
}

async function json(path, options) {
  const answer = await request(path, options);
  let content;
  try {
    content = await answer.json();
  } catch (error) {
    if (aborted(error)) throw error;
    throw new Fault({ message: "The server's answer broke off." }, "gone");
  }
  // What is wrong with the source comes with status 200: a wrong spec is no failure of the page.
  if (content.error) throw new Fault(content.error, content.error.kind ?? "source");
  return content;
}

const posted = (body, signal) => ({
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body),
  signal,
});

/** What there is to choose from. */
export const catalog = (signal) => json("api/catalog", { signal });

/** A question as JSON to one of analyze, check, unit, outline. */
export const ask = (what, body, signal) => json(`api/${what}`, posted(body, signal));

/** The report file of a question, as a Blob. */
export async function report(body, signal) {
  const answer = await request("api/report", posted(body, signal));
  if (/json/.test(answer.headers.get("content-type") ?? "")) throw new Fault((await answer.json()).error);
  return answer.blob();
}

/** Sends a file. `progress(part of 1)` is called on the way; the signal breaks it off. */
export function upload(file, { signal, progress } = {}) {
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();
    sending.open("POST", `api/upload?name=${encodeURIComponent(file.name)}`);
    sending.setRequestHeader("content-type", "application/octet-stream");
    sending.upload.onprogress = (event) => event.lengthComputable && progress?.(event.loaded / event.total);
    sending.onabort = () => reject(new DOMException("given up", "AbortError"));
    sending.onerror = () =>
      reject(new Fault({ message: `${file.name} could not be sent to the server.` }, "gone"));
    sending.onload = () => {
      let content = null;
      try {
        content = JSON.parse(sending.responseText);
      } catch {
        // Handled below, as an answer without a word.
      }
      if (sending.status === 200 && content?.id) resolve(content);
      else {
        reject(
          new Fault(content?.error ?? { message: `${file.name} was refused (status ${sending.status}).` }),
        );
      }
    };
    signal?.addEventListener("abort", () => sending.abort(), { once: true });
    sending.send(file);
  });
}

/** Bytes from base64. */
function bytes(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/** Booleans (0 or 1) from packed bits, the first of each byte its highest. */
export function unpacked(text, count) {
  const packed = bytes(text);
  return Uint8Array.from({ length: count }, (_, k) => (packed[k >> 3] >> (7 - (k & 7))) & 1);
}

/** Numbers from little-endian float32. */
export function floats(text) {
  const raw = bytes(text);
  const view = new DataView(raw.buffer);
  return Float32Array.from({ length: raw.length / 4 }, (_, k) => view.getFloat32(4 * k, true));
}
