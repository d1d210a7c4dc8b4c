// The run in the browser: JSON Lines in, records and labels out. Knows no element of the page.

function readLines(run, text) {
  // Streamed text only grows, so only its new tail is parsed; anything else is another run.
  if (!run.header || !text.startsWith(run.text)) run = emptyRun();
  const end = text.lastIndexOf("\n") + 1;
  const tail = text.slice(run.text.length, end);
  for (const line of tail.split("\n")) {
    if (line) addLine(run, JSON.parse(line));
  }
  run.text = text.slice(0, end);
  return run;
}

function emptyRun() {
  return { text: "", header: null, steps: [], pieces: [], end: null, closed: false, decoder: new TextDecoder("utf-8"), pending: NO_BYTES };
}

function addLine(run, record) {
  if ("format" in record) {
    run.header = record;
    for (const token of record.prompt_tokens) run.pending = markCompleting(token, run.pending);
  } else if ("index" in record) {
    for (const candidate of record.candidates) markCompleting(candidate, run.pending);
    run.pending = markCompleting(record.picked, run.pending);
    run.steps.push(record);
    run.pieces.push(pieceOf(run, record.picked));
  } else {
    run.end = record;
    run.closed = true;
  }
}

// What a picked token adds to the text. A character that is split across tokens appears with the token that completes it; those
// before it add nothing yet. It is put together with the tokens picked before it, and no others.
function pieceOf(run, token) {
  return run.decoder.decode(bytesOf(token) ?? new TextEncoder().encode(token.text), { stream: true });
}

function bytesOf(token) {
  if (token.bytes === undefined) return null;
  return Uint8Array.from(token.bytes.match(/../g) ?? [], (digits) => parseInt(digits, 16));
}

// A character that is split across tokens: what came of it before a token stands in the token itself, so that its label is the same
// wherever the token is shown. A symbol's property stays in copies of the token, and out of JSON.
const BEFORE = Symbol("before");
const NO_BYTES = new Uint8Array();

// What is left over after the token, where it is picked.
function markCompleting(token, pending) {
  const bytes = bytesOf(token);
  if (!bytes) return NO_BYTES;
  if (pending.length) token[BEFORE] = pending;
  return unfinished(Uint8Array.of(...pending, ...bytes));
}

// How many bytes the character has that begins with this one (RFC 3629); 0 where none begins.
function lengthFrom(byte) {
  if (byte < 0x80) return 1;
  return [[0xc2, 0xe0, 2], [0xe0, 0xf0, 3], [0xf0, 0xf5, 4]].find(([from, to]) => byte >= from && byte < to)?.[2] ?? 0;
}

function unfinished(bytes) {
  for (let count = Math.min(3, bytes.length); count > 0; count--) {
    const tail = bytes.slice(-count);
    if (lengthFrom(tail[0]) > count && tail.slice(1).every((byte) => byte >> 6 === 2)) return tail;
  }
  return NO_BYTES;
}

// The character that a token completes, and how many of its bytes that takes; null where it completes none.
function completedBy(token) {
  const [before, bytes] = [token[BEFORE], bytesOf(token)];
  const count = before ? lengthFrom(before[0]) - before.length : 0;
  if (!count || bytes.length < count) return null;
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.of(...before, ...bytes.slice(0, count)));
    return { text: visible(text), added: bytes.slice(0, count), rest: bytes.slice(count) };
  } catch {
    return null; // these bytes belong to no character
  }
}

// The run as JSON Lines, whole also where the panel and not the server ended it.
function jsonLines(run) {
  const { stop_reason, message } = run.end ?? { stop_reason: "stopped" };
  return run.text + (run.closed ? "" : `${JSON.stringify(message ? { stop_reason, message } : { stop_reason })}\n`);
}

function textBefore(run, index) {
  return run.header.prompt + run.pieces.slice(0, index).join("");
}

const SIGNS = { " ": "·", "\n": "↵", "\t": "⇥", "\r": "␍" };
const INVISIBLE = /[\p{C}\p{Zl}\p{Zp}\p{Zs}]/gu;

// A label in which nothing is invisible, and nothing can turn the direction of what stands beside it.
function visible(text) {
  return text.replace(INVISIBLE, (c) => SIGNS[c] ?? "\\u" + c.codePointAt(0).toString(16).padStart(4, "0"));
}

// What is opened or ended here may be out of pairs, and then a frame of CSS around it does not close it, and it turns what comes after.
const FRAMES = /[\u202a-\u202e\u2066-\u2069]/gu;
const TURNS = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

// Somebody's words within a sentence: they stay as they are, but what stands beside them is not turned around.
function upright(words) {
  return words.replace(TURNS, visible);
}

function labelOf(token) {
  return labelParts(token).join("");
}

// A label in two parts: what is read, and the bytes in it that are no character of their own. "자" and "⟨+90⟩": with the byte 90 this
// token completes the character. "·" and "⟨F0 9F⟩": a space, and the beginning of a character.
function labelParts(token) {
  const bytes = bytesOf(token);
  if (!bytes) return [token.text === "" ? texts.say("token.empty") : visible(token.text), ""];
  const completed = completedBy(token);
  if (!completed) return bytesLabel(bytes);
  const [text, hex] = completed.rest.length ? bytesLabel(completed.rest) : ["", ""];
  return [completed.text, `${hexDigits(completed.added, "+")}${text}${hex}`];
}

// The whole characters of a token as text, and the rest as hexadecimal digits.
function bytesLabel(bytes) {
  for (let whole = bytes.length; whole > 0; whole--) {
    try {
      const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes.slice(0, whole));
      return [visible(text), whole < bytes.length ? hexDigits(bytes.slice(whole)) : ""];
    } catch {
      // not a whole character yet: try one byte less
    }
  }
  return ["", hexDigits(bytes)];
}

function hexDigits(bytes, sign = "") {
  return `⟨${sign}${Array.from(bytes, (byte) => byte.toString(16).toUpperCase().padStart(2, "0")).join(" ")}⟩`;
}

function idLabel(token) {
  return token.token_id < 0 ? texts.say("token.no_id") : String(token.token_id);
}

// Two decimals, and more where two would say nothing: never "<0.01 %".
function percent(probability) {
  const value = probability * 100;
  if (value === 0 || value >= 0.01) return `${value.toFixed(2)} %`;
  return `${value >= 1e-6 ? value.toFixed(1 - Math.floor(Math.log10(value))) : value.toExponential(1)} %`;
}

function number(value, digits) {
  return value === null || !Number.isFinite(value) ? texts.say("number.none") : value.toFixed(digits).replace("-", "−");
}

function totals(run) {
  const logprob = run.steps.reduce((sum, step) => sum + (step.picked.logprob ?? -Infinity), 0);
  return { logprob, perplexity: run.steps.length ? Math.exp(-logprob / run.steps.length) : NaN };
}

// A text as one line in which only its spaces are invisible.
function oneLine(text) {
  return text.split(" ").map(visible).join(" ");
}

function lettersOf(text) {
  return Array.from(new Intl.Segmenter().segment(text), ({ segment }) => segment);
}
