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
  return { text: "", header: null, steps: [], pieces: [], end: null, closed: false, decoder: new TextDecoder("utf-8") };
}

function addLine(run, record) {
  if ("format" in record) {
    run.header = record;
  } else if ("index" in record) {
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
  const bytes = bytesOf(token);
  if (bytes) return bytesLabel(bytes);
  return token.text === "" ? texts.say("token.empty") : visible(token.text);
}

// The whole characters of a token as text and the rest as hexadecimal digits: "·⟨F0 9F⟩".
function bytesLabel(bytes) {
  for (let whole = bytes.length; whole > 0; whole--) {
    try {
      const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes.slice(0, whole));
      return visible(text) + (whole < bytes.length ? hexDigits(bytes.slice(whole)) : "");
    } catch {
      // not a whole character yet: try one byte less
    }
  }
  return hexDigits(bytes);
}

function hexDigits(bytes) {
  return `⟨${Array.from(bytes, (byte) => byte.toString(16).toUpperCase().padStart(2, "0")).join(" ")}⟩`;
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

function whyEnded(run) {
  const { stop_reason: reason, message } = run.end;
  return reason === "error" && message ? reword(message) : texts.say(`ended.${reason}`);
}
