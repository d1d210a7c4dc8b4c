// One run: JSON Lines in, records out, and what can be computed from them. Knows no element of the page.

import { howOf, isChosen } from "./how_picked.js";
import { addWhy } from "./run_lines.js";
import { bytesOf, markPendingBytes, NO_BYTES } from "./tokens.js";

/** @import { Draw, Sampling } from "./how_picked.js" */
/** @import { Token } from "./tokens.js" */
/** @import { WhyLine } from "./why.js" */

/**
 * @typedef {Token & { probability: number, logprob: number | null, rank: number }} Candidate `rank` 0 is the most probable
 */

/**
 * @typedef {object} Step
 * @property {number} index
 * @property {Candidate} picked
 * @property {boolean} forced not picked by argmax: by a person, a draw, or past the end of the text
 * @property {Candidate[]} candidates the most probable first
 * @property {number} rest the probability of all others
 * @property {number | null} entropy in nats
 * @property {number} margin the first candidate's lead over the second
 * @property {[number, number][]} [log_sums] 1 / T, and log Σ exp(logit / T) over the whole vocabulary
 * @property {Draw} [draw] what the pick was drawn from
 * @property {boolean} [past_end] the most probable token ends the text and was passed over
 */

/**
 * A beam of a search: `parent` is its place among the beams of the step before.
 * @typedef {Token & { parent: number, logprob: number | null, rank: number, total: number | null, ended?: boolean }} Beam
 */

/** @typedef {{ beam_step: number, beams: Beam[], finished?: [number, number][] }} Beams those of one step; the last has what was finished */

/** @typedef {{ logprob: number | null, rank: number, entropy: number | null }} PromptScore of a token of the prompt */

/** @typedef {"steps" | "end_of_text" | "context_full" | "stopped" | "error"} StopReason */

/** @typedef {{ start: number, period: number, repeats: number }} Loop */

/**
 * @typedef {object} End
 * @property {StopReason} stop_reason
 * @property {string} [message]
 * @property {Loop[]} [loops]
 */

/** @typedef {{ id: string, revision: string, dtype: string, device: string, engine: string, why?: string }} Model */

/**
 * @typedef {object} Header
 * @property {Model} model
 * @property {string} prompt
 * @property {Token[]} prompt_tokens
 * @property {number} max_new_tokens
 * @property {number} top_k
 * @property {string} [note] a recording's
 * @property {string[]} [remarks]
 * @property {boolean} [past_end] the run goes on past the end of the text
 * @property {Sampling} [sampling] how its tokens were drawn
 * @property {boolean} [as_message] a chat template made `prompt_tokens` of the prompt, which is a message
 */

/**
 * @typedef {object} Run
 * @property {string} text its JSON Lines so far
 * @property {string} lastLine of `text`, which is long: a look at its end would put all its parts together at each update
 * @property {Header} header null in a run of which nothing has come: `emptyRun`
 * @property {Step[]} steps
 * @property {string[]} pieces what each step's pick adds to the text
 * @property {Beams[]} beams the tree of the search that found the run; [] where none did
 * @property {Uint8Array[]} pendingOfBeams of each of the last step's beams
 * @property {PromptScore[]} promptScores of the prompt's last tokens, once they were asked for
 * @property {string} scoreLines lines that were asked for when the run had been written
 * @property {Map<string, WhyLine>} why what was asked about its steps, by kind and step
 * @property {Set<string>} forgotten what was asked about its steps and is no longer kept, by kind and step
 * @property {number} answers how often one came of what was asked when the run had been written
 * @property {End | null} end
 * @property {boolean} closed its last line has come: it was not ended by the panel
 * @property {TextDecoder} decoder
 * @property {Uint8Array} pending bytes of a character that no token has completed yet
 * @property {number} [loggedTokens] tokens that a screen reader has been given; only where the run is written now
 */

/** @typedef {{ model: string, prompt: string, steps: number, choices: number, forced: [number, number][], past_end?: boolean, sampling?: Sampling, as_message?: boolean }} Request */

/** @returns {Run} */
export function emptyRun() {
  return /** @type {any} */ ({ text: "", lastLine: "", header: null, steps: [], pieces: [], beams: [], pendingOfBeams: [], promptScores: [], scoreLines: "", why: new Map(), forgotten: new Set(), answers: 0, end: null, closed: false, decoder: new TextDecoder("utf-8"), pending: NO_BYTES });
}

/**
 * Streamed text only grows, so only what is new of it is parsed; anything else is another run.
 * @param {Run} run
 * @param {string} text
 * @returns {Run}
 */
export function readLines(run, text) {
  const added = run.header ? newLines(run, text) : null;
  if (added === null) run = emptyRun();
  else if (run.end && !run.closed) return run; // it was stopped, whether the server has heard of it or not
  const lines = (added ?? text).slice(0, (added ?? text).lastIndexOf("\n") + 1);
  for (const line of lines.split("\n")) {
    if (!line) continue;
    addLine(run, JSON.parse(line));
    run.lastLine = `${line}\n`;
  }
  run.text += lines;
  return run;
}

/**
 * Of a run that is being written, the new lines come alone behind the last one before them: decoding/page/panel_text.py. Lines that do not fit
 * are left out, and so is what follows them: the run then ends as one whose connection was lost.
 * @param {Run} run
 * @param {string} text
 * @returns {string | null} null where it is another run's
 */
function newLines({ text: known, lastLine }, text) {
  const first = text.slice(0, text.indexOf("\n") + 1);
  if (first === lastLine) return text.slice(first.length);
  if (text.startsWith(known)) return text.slice(known.length);
  if (!first || "format" in JSON.parse(first)) return null;
  const again = known.slice(known.lastIndexOf(`\n${first}`) + 1);
  return text.startsWith(again) ? text.slice(again.length) : "";
}

/**
 * @param {Run} run
 * @param {any} record
 */
function addLine(run, record) {
  if ("format" in record) {
    run.header = record;
    for (const token of record.prompt_tokens) run.pending = markPendingBytes(token, run.pending);
    run.pendingOfBeams = [run.pending];
  } else if ("index" in record) {
    for (const candidate of record.candidates) markPendingBytes(candidate, run.pending);
    run.pending = markPendingBytes(record.picked, run.pending);
    run.steps.push(record);
    run.pieces.push(pieceOf(run, record.picked));
  } else if ("beam_step" in record) {
    run.pendingOfBeams = record.beams.map((/** @type {Beam} */ beam) => markPendingBytes(beam, run.pendingOfBeams[beam.parent] ?? NO_BYTES));
    run.beams.push(record);
  } else if ("prompt_scores" in record) {
    run.promptScores = record.prompt_scores;
  } else if (isWhy(record)) {
    addWhy(run, record);
  } else {
    run.end = record;
    run.closed = true;
  }
}

/**
 * What a picked token adds to the text. A character that is split across tokens appears with the token that completes it; those
 * before it add nothing yet. It is put together with the tokens picked before it, and no others.
 * @param {Run} run
 * @param {Token} token
 * @returns {string}
 */
function pieceOf(run, token) {
  return run.decoder.decode(bytesOf(token) ?? new TextEncoder().encode(token.text), { stream: true });
}

/**
 * The panel and not the server ended the run: it was stopped, or its connection broke.
 * @param {Run} run
 * @param {StopReason} stop_reason
 * @param {string} message
 */
export function endEarly(run, stop_reason, message) {
  run.end = { stop_reason, message };
}

/**
 * The scores of the prompt's tokens, which were asked for when the run had been written: they stand before its last line.
 * @param {Run} run
 * @param {string} line
 */
export function addPromptScores(run, line) {
  addLine(run, JSON.parse(line));
  run.scoreLines = `${line}\n`;
  run.answers += 1;
}

/**
 * The score of a token of the prompt, by its place; undefined for one that has none.
 * @param {Run} run
 * @param {number} place
 * @returns {PromptScore | undefined}
 */
export function promptScoreOf({ header, promptScores }, place) {
  return promptScores[place - header.prompt_tokens.length + promptScores.length];
}

/**
 * @param {object} record
 * @returns {record is WhyLine}
 */
const isWhy = (record) => "lens" in record || "leave_one_out" in record;

/**
 * The text that the model read before the first step: the prompt, or what the chat template made of it.
 * @param {Run} run
 * @returns {string}
 */
export function promptText({ header }) {
  if (!header.as_message) return header.prompt;
  const decoder = new TextDecoder();
  const parts = header.prompt_tokens.map((token) => decoder.decode(bytesOf(token) ?? new TextEncoder().encode(token.text), { stream: true }));
  return parts.join("") + decoder.decode();
}

/**
 * @param {Run} run
 * @param {number} index
 * @returns {string}
 */
export function textBefore(run, index) {
  return promptText(run) + run.pieces.slice(0, index).join("");
}

/**
 * @param {Run} run
 * @returns {{ logprob: number, perplexity: number }}
 */
export function totals(run) {
  const logprob = run.steps.reduce((sum, step) => sum + (step.picked.logprob ?? -Infinity), 0);
  return { logprob, perplexity: run.steps.length ? Math.exp(-logprob / run.steps.length) : NaN };
}

/**
 * @param {Run} run
 * @returns {number}
 */
export function slotsOf(run) {
  return Math.max(1, run.end ? run.steps.length : run.header.max_new_tokens);
}

/**
 * @param {Run} run
 * @returns {boolean}
 */
export const isForced = (run) => run.steps.some(isChosen);

/**
 * Everything that a server needs to write the run again up to a step: no server has to remember it.
 * @param {Run} run
 * @param {number} step
 * @returns {Request}
 */
export function requestUpTo(run, step) {
  const { model, prompt, max_new_tokens: steps, top_k: choices } = run.header;
  /** @type {[number, number][]} */
  const forced = run.steps.slice(0, step).filter(isChosen).map((s) => [s.index, s.picked.token_id]);
  return { model: model.id, prompt, steps, choices, forced, ...howOf(run.header) };
}

/**
 * Steps by the lead of the first candidate over the second, smallest first; picks of a person were no call of the model's.
 * @param {Run} run
 * @returns {Step[]}
 */
export function closestCalls(run) {
  const open = run.steps.filter((step) => !step.forced && !step.draw && step.candidates.length > 1 && step.candidates[1].token_id >= 0);
  return open.toSorted((a, b) => a.margin - b.margin || a.index - b.index);
}

/**
 * Which repeat a step belongs to, for the marks in text and strip.
 * @param {Run} run
 * @param {number} index
 * @returns {number | null}
 */
export function repeatAt(run, index) {
  const loop = run.end?.loops?.find(({ start, period, repeats }) => index >= start && index < start + period * repeats);
  return loop ? Math.floor((index - loop.start) / loop.period) : null;
}
