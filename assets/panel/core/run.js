// One run: JSON Lines in, records out, and what can be computed from them. Knows no element of the page.

import { bytesOf, markCompleting, NO_BYTES } from "./tokens.js";

export function emptyRun() {
  return { text: "", header: null, steps: [], pieces: [], end: null, closed: false, decoder: new TextDecoder("utf-8"), pending: NO_BYTES };
}

export function readLines(run, text) {
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

// The run as JSON Lines, whole also where the panel and not the server ended it.
export function jsonLines(run) {
  const { stop_reason, message } = run.end ?? { stop_reason: "stopped" };
  return run.text + (run.closed ? "" : `${JSON.stringify(message ? { stop_reason, message } : { stop_reason })}\n`);
}

export function textBefore(run, index) {
  return run.header.prompt + run.pieces.slice(0, index).join("");
}

export function totals(run) {
  const logprob = run.steps.reduce((sum, step) => sum + (step.picked.logprob ?? -Infinity), 0);
  return { logprob, perplexity: run.steps.length ? Math.exp(-logprob / run.steps.length) : NaN };
}

export function slotsOf(run) {
  return Math.max(1, run.end ? run.steps.length : run.header.max_new_tokens);
}

export const isForced = (run) => run.steps.some(({ forced }) => forced);

// Everything that a server needs to write the run again up to a step: no server has to remember it.
export function requestUpTo(run, step) {
  const { model, prompt, max_new_tokens: steps, top_k: choices } = run.header;
  const forced = run.steps.slice(0, step).filter((s) => s.forced).map((s) => [s.index, s.picked.token_id]);
  return { model: model.id, prompt, steps, choices, forced };
}

export function firstDifference(a, b) {
  const most = Math.max(a.steps.length, b.steps.length);
  for (let n = 0; n < most; n++) {
    if (a.steps[n]?.picked.token_id !== b.steps[n]?.picked.token_id) return n;
  }
  return -1;
}

// Steps by the lead of the first candidate over the second, smallest first; picks of a person were no call of the model's.
export function closestCalls(run) {
  const open = run.steps.filter((step) => !step.forced && step.candidates.length > 1 && step.candidates[1].token_id >= 0);
  return open.toSorted((a, b) => a.margin - b.margin || a.index - b.index);
}

// Which repeat a step belongs to, for the marks in text and strip.
export function loopAt(run, index) {
  const loop = run.end?.loops?.find(({ start, period, repeats }) => index >= start && index < start + period * repeats);
  return loop ? Math.floor((index - loop.start) / loop.period) : null;
}
