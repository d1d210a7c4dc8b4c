// One run from request to end, as the JSON Lines that decoding/run.py and decoding/questions/text_scores.py write: header, steps, end. Knows ids and
// records; no page.

import { findLoops } from "./repetition.js";
import * as requests from "./requests.js";
import { NotANumber, readScores } from "./scores.js";
import { Refusal, sentence } from "./sentences.js";

/** @import { Limits } from "../../panel/core/constants.js" */
/** @import { Candidate, StopReason } from "../../panel/core/run.js" */
/** @import { OwnTextQuestion, TextQuestion } from "../messages.js" */
/** @import { ModelFacts } from "../model_facts.js" */
/** @import { Check, Network } from "./network.js" */
/** @import { PrefixCache } from "./prefix_cache.js" */
/** @import { CheckedRequest } from "./requests.js" */
/** @import { StepScores } from "./scores.js" */
/** @import { Vocabulary } from "./tokens.js" */

/** @typedef {{ device: string, why: string }} ComputedOn what computes, and why it does, as a run's header has it */

/**
 * What runs are written with.
 * @typedef {object} Engine
 * @property {Network} network
 * @property {Vocabulary} vocabulary
 * @property {ModelFacts} facts
 * @property {Limits} limits
 * @property {ComputedOn} computedOn
 * @property {PrefixCache} prefixCache
 */

export class Stopped extends Error {}

/**
 * Greedy decoding. Throws Refusal before the first line; `check` throws Stopped after Stop was pressed.
 * @param {Engine} engine
 * @param {OwnTextQuestion} asked
 * @param {Check} check
 * @returns {AsyncGenerator<string>}
 */
export async function* decode(engine, asked, check) {
  const { vocabulary, facts, network } = engine;
  const { request, remarks } = withOwnText(engine, asked);
  requests.checkIds(request, facts);
  const start = requests.startIds(request, vocabulary, facts);
  yield header(engine, request, start, { remarks: [...requests.promptRemarks(request.prompt, start, vocabulary, facts), ...remarks] });
  const room = Math.min(request.steps, facts.context - start.length);
  const recalled = engine.prefixCache.recall(start, { ...request, steps: room }, network);
  const steps = [...recalled.steps];
  for (const { text } of steps) yield text;
  let { cache, unread } = recalled;
  const hasEnded = () => steps.length > 0 && facts.endIds.includes(steps[steps.length - 1].id);
  try {
    while (steps.length < room && !hasEnded()) {
      const index = steps.length;
      const read = await network.readAll(unread, cache, check);
      const forced = request.forced.get(index) ?? null;
      const scores = scoresOrNull(read.logits, Math.max(2, request.choices), forced); // the margin needs the second
      if (!scores) return yield end("error", steps.map(({ id }) => id), sentence("server.model.nan"));
      const text = stepLine(vocabulary, scores, { index, topK: request.choices, forced: forced !== null });
      const id = forced ?? scores.tokenIds[0];
      steps.push({ id, forced, text });
      [cache, unread] = [read.cache, [id]];
      yield text;
    }
  } finally {
    engine.prefixCache.store(start, request.choices, steps, cache);
  }
  const picked = steps.map(({ id }) => id);
  const late = [...request.forced.keys()].find((index) => index >= picked.length);
  if (late !== undefined) return yield end("error", picked, sentence("server.pick.late", { count: picked.length, step: late + 1 }));
  yield end(hasEnded() ? "end_of_text" : picked.length === request.steps ? "steps" : "context_full", picked);
}

/**
 * A text that is already there, read with the same lens: each of its tokens is a step, forced where argmax picks another.
 * @param {Engine} engine
 * @param {TextQuestion} asked
 * @param {Check} check
 * @returns {AsyncGenerator<string>}
 */
export async function* score(engine, asked, check) {
  const { vocabulary, facts, network, limits } = engine;
  const request = requests.checkRequest(asked, limits);
  const { text } = asked;
  const start = requests.promptIds(request.prompt, vocabulary, facts);
  requests.checkText(text, "text", "pasted", limits);
  const ids = requests.continuationIds(text, start, request.prompt, vocabulary, facts, limits);
  const remarks = [...requests.promptRemarks(request.prompt, start, vocabulary, facts), ...requests.textRemarks(text, ids, vocabulary, facts)];
  yield header(engine, { ...request, steps: ids.length }, start, { remarks, kind: sentence("server.kind.given") });
  let index = 0;
  for await (const logits of network.rowsBefore(start, ids, check)) {
    const scores = scoresOrNull(logits, Math.max(2, request.choices), ids[index]);
    if (!scores?.picked) return yield end("error", ids.slice(0, index), sentence("server.model.nan"));
    yield stepLine(vocabulary, scores, { index, topK: request.choices, forced: scores.picked.rank !== 0 });
    index += 1;
  }
  yield end(facts.endIds.includes(ids[ids.length - 1]) ? "end_of_text" : "steps", ids);
}

/**
 * @param {StopReason} reason
 * @param {number[]} ids those that were picked
 * @param {string} [message]
 * @returns {string}
 */
export function end(reason, ids, message = "") {
  const loops = findLoops(ids);
  return line({ stop_reason: reason, ...(message ? { message } : {}), ...(loops.length ? { loops } : {}) });
}

/**
 * A request, with the tokens of a text of one's own as picks from step `at` on.
 * @param {Engine} engine
 * @param {OwnTextQuestion} asked
 * @returns {{ request: CheckedRequest, remarks: string[] }}
 */
function withOwnText({ vocabulary, facts, limits }, asked) {
  const request = requests.checkRequest(asked, limits);
  const { text, at = 0 } = asked;
  if (text === undefined) return { request, remarks: [] };
  requests.checkText(text, "forced", "prompt", limits);
  const before = [...requests.promptIds(request.prompt, vocabulary, facts), ...request.forced.values()];
  const ids = vocabulary.encodeContinuation(text, before, request.prompt);
  if (ids.length === 0) throw new Refusal("forced", "server.ask.no_text");
  const room = request.steps - at;
  if (room > 0 && room < ids.length) throw new Refusal("forced", "server.ask.long_text", { count: ids.length, step: at + 1, room });
  const forced = [...request.forced, ...ids.map((id, n) => [at + n, id])];
  return { request: requests.checkRequest({ ...asked, forced }, limits), remarks: requests.textRemarks(text, ids, vocabulary, facts) };
}

/**
 * The scores of a step; null where the logits are no distribution.
 * @param {Float32Array} logits
 * @param {number} topK
 * @param {number | null} forced
 * @returns {StepScores | null}
 */
export function scoresOrNull(logits, topK, forced) {
  try {
    return readScores(logits, topK, forced);
  } catch (error) {
    if (error instanceof NotANumber) return null;
    throw error;
  }
}

// ---- lines, their fields in the library's order; a field that would say nothing is left out

/**
 * @param {Engine} engine
 * @param {Pick<CheckedRequest, "prompt" | "steps" | "choices">} request
 * @param {number[]} ids the prompt's
 * @param {{ remarks: string[], kind?: string }} more `kind`: what wrote the run, where it was not greedy decoding
 * @returns {string}
 */
export function header({ facts, vocabulary, computedOn }, { prompt, steps, choices }, ids, { remarks, kind = "" }) {
  const engine = kind ? `${kind}, ${facts.model.engine}` : facts.model.engine;
  return line({
    format: "greedyscope",
    version: 1,
    model: { ...facts.model, device: computedOn.device, engine, why: computedOn.why },
    prompt,
    prompt_token_ids: ids,
    prompt_tokens: ids.map((id) => vocabulary.token(id)),
    max_new_tokens: steps,
    top_k: choices,
    ...(remarks.length ? { remarks } : {}),
  });
}

/**
 * @param {Vocabulary} vocabulary
 * @param {StepScores} scores
 * @param {{ index: number, topK: number, forced: boolean }} step
 * @returns {string}
 */
export function stepLine(vocabulary, scores, { index, topK, forced }) {
  const probabilities = scores.logprobs.map(Math.exp);
  const candidates = scores.tokenIds.slice(0, topK).map((id, rank) => candidate(vocabulary, id, scores.logprobs[rank], rank));
  const { picked } = scores;
  const isBeyond = picked && picked.rank >= candidates.length;
  return line({
    index,
    picked: isBeyond ? candidate(vocabulary, picked.tokenId, picked.logprob, picked.rank) : candidates[picked?.rank ?? 0],
    forced,
    candidates,
    rest: Math.max(0, 1 - candidates.reduce((sum, { probability }) => sum + probability, 0)),
    entropy: scores.entropy,
    margin: probabilities[0] - (probabilities[1] ?? 0),
    log_sums: scores.logSums.map(([power, sum]) => [power, Math.round(sum * 1e6) / 1e6]),
  });
}

/**
 * @param {Vocabulary} vocabulary
 * @param {number} id
 * @param {number} logprob
 * @param {number} rank
 * @returns {Candidate}
 */
export function candidate(vocabulary, id, logprob, rank) {
  const { text, bytes } = vocabulary.token(id);
  return { token_id: id, text, probability: Math.exp(logprob), logprob, rank, ...(bytes === undefined ? {} : { bytes }) };
}

/**
 * Inside a page, no text of a run may look like a tag, and JSON has another way to write "<".
 * @param {object} record
 * @returns {string}
 */
export function line(record) {
  return `${JSON.stringify(record).replaceAll("<", "\\u003c")}\n`;
}
