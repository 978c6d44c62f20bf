// The state of the page as a small object, as text in a link, and as a file.

export const SCHEMA = "eyeshot.state/1";

/** Links longer than this are not made: browsers cut them. */
export const LONGEST = 1_500_000;
const LARGEST = 20_000_000;
const FORMATS = ["yaml", "json", "toml"];

/** Says what is wrong with a link or a file. */
export class StateError extends Error {}

const isText = (value, most = 1000) => typeof value === "string" && value.length <= most;
const isPlain = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const isCount = (value) => Number.isSafeInteger(value) && value >= 0;

function wanted(condition, what) {
  if (!condition) throw new StateError(`This state can't be used: ${what}.`);
}

/** A source, with only the keys it should have. */
function source(found) {
  wanted(isPlain(found), "it names no network");
  switch (found.kind) {
    case "spec":
      wanted(isText(found.text, LARGEST) && FORMATS.includes(found.format), "its spec is not one");
      return { kind: "spec", text: found.text, format: found.format };
    case "example":
      wanted(isText(found.name), "its example has no name");
      return { kind: "example", name: found.name };
    case "upload":
      wanted(isText(found.id) && /^[0-9a-f]{64}$/.test(found.id), "its file has no proper id");
      return { kind: "upload", id: found.id, name: isText(found.name) ? found.name : "model.onnx" };
    case "model":
      wanted(["torchvision", "timm"].includes(found.zoo) && isText(found.name), "its model has no name");
      return { kind: "model", zoo: found.zoo, name: found.name };
    case "given":
      return { kind: "given", title: isText(found.title) ? found.title : "" };
    default:
      throw new StateError("This state can't be used: its kind of network is not known here.");
  }
}

function side(found) {
  wanted(isPlain(found), "a part is missing");
  const numbers = Array.isArray(found.unit) && found.unit.length <= 16 && found.unit.every(isCount);
  return {
    source: source(found.source),
    input: isText(found.input, 10_000) ? found.input : "",
    axes: isText(found.axes, 10_000) ? found.axes : "",
    layer: isText(found.layer, 100_000) ? found.layer : null,
    unit: numbers ? found.unit : null,
    shown: isCount(found.shown) ? found.shown : 0,
    through: Array.isArray(found.through)
      ? found.through.filter((name) => isText(name, 100_000)).slice(0, 1000)
      : [],
  };
}

/** A state as read from somewhere, checked and cut down to what is known. Throws StateError. */
function checked(found) {
  wanted(isPlain(found), "it is not a saved state");
  if (found.schema !== SCHEMA) {
    const other = isText(found.schema, 60) ? ` but ${JSON.stringify(found.schema)}` : "";
    throw new StateError(`This is not a saved state of this page: its schema is not ${SCHEMA}${other}.`);
  }
  const marks = {};
  for (const key of ["box", "clipped", "centres", "way"]) {
    if (typeof found.marks?.[key] === "boolean") marks[key] = found.marks[key];
  }
  return { schema: SCHEMA, ...side(found), marks, compare: found.compare ? side(found.compare) : null };
}

const names = { "+": "-", "/": "_", "=": "" };

function base64url(raw) {
  let binary = "";
  for (let k = 0; k < raw.length; k += 0x8000) binary += String.fromCharCode(...raw.subarray(k, k + 0x8000));
  return btoa(binary).replace(/[+/=]/g, (character) => names[character]);
}

/** The bytes of a stream, as far as they are not too many. */
async function collected(stream, most) {
  const parts = [];
  let total = 0;
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    total += value.length;
    if (total > most) {
      reader.cancel().catch(() => {});
      throw new StateError("This link holds more than a state can be.");
    }
    parts.push(value);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** The state as the text after `#`. */
export async function toHash(state) {
  const packed = new Blob([JSON.stringify(state)]).stream().pipeThrough(new CompressionStream("deflate-raw"));
  return `s=${base64url(await collected(packed, Infinity))}`;
}

/** The state that the text after `#` holds; null where it holds none. Throws StateError. */
export async function fromHash(text) {
  const hash = text.replace(/^#/, "");
  if (!hash.startsWith("s=")) return null;
  let found;
  try {
    if (hash.length > LONGEST + 2) throw new StateError("This link is too long to be one of this page.");
    const binary = atob(hash.slice(2).replaceAll("-", "+").replaceAll("_", "/"));
    const raw = Uint8Array.from(binary, (character) => character.charCodeAt(0));
    const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    found = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(await collected(stream, LARGEST)));
  } catch (error) {
    if (error instanceof StateError) throw error;
    throw new StateError("This link is damaged: the part after # is not a state of this page.");
  }
  return checked(found);
}

/** The state in a file's text. Throws StateError. */
export function fromFile(text) {
  let found;
  try {
    found = JSON.parse(text);
  } catch {
    throw new StateError("This file is not a saved state: it is not JSON.");
  }
  return checked(found);
}

/** Whether a JSON text is meant as a saved state, not as a spec. */
export const meantAsState = (text) =>
  text.slice(0, 400).includes(`"${SCHEMA}`) || text.includes('"eyeshot.state/');
