// What was asked about a step: a lens on its layers, and what the text says without a part of it; and what can be computed from both. Knows
// no element of the page, and not how they are asked for. decoding/record/why.py has the same records.

import { markPendingBytes, pendingAfter } from "./tokens.js";

/** @import { Candidate, Run } from "./run.js" */
/** @import { Token } from "./tokens.js" */

/**
 * @typedef {object} LensLayer
 * @property {Candidate} leader the layer's most probable token
 * @property {(number | null)[]} logprobs of the lens's tokens, in nats
 * @property {number[]} ranks 0 is the most probable
 */

/**
 * @typedef {object} Lens
 * @property {number} step
 * @property {Token[]} tokens those that are followed; the first is the step's pick
 * @property {LensLayer[]} layers the embedding, then the state after each layer
 */

/**
 * @typedef {object} LeftOut
 * @property {number} first the position of the part's first token, through the prompt and then the picks
 * @property {number} count of its tokens
 * @property {number | null} logprob the pick's without it
 * @property {number} rank
 * @property {Candidate} instead the most probable token without it
 * @property {number | null} [against_logprob]
 */

/**
 * @typedef {object} LeaveOneOut
 * @property {number} step
 * @property {"tokens" | "words"} by
 * @property {Candidate} picked
 * @property {LeftOut[]} parts
 * @property {Candidate} [against]
 */

/** @typedef {{ lens?: Lens, leave_one_out?: LeaveOneOut }} WhyLine a line of a run's JSON Lines */

/**
 * The tokens of the text before a step: those of the prompt, then the picks.
 * @param {Run} run
 * @param {number} step
 * @returns {Token[]}
 */
export function tokensBefore(run, step) {
  return [...run.header.prompt_tokens, ...run.steps.slice(0, step).map(({ picked }) => picked)];
}

/**
 * Tell the tokens of an answer which bytes stand before them, so that each has the label that it has in the run.
 * @param {Run} run
 * @param {WhyLine} record
 */
export function markAnswer(run, { lens, leave_one_out: answer }) {
  const tokens = tokensBefore(run, lens?.step ?? answer?.step ?? 0);
  const pending = pendingAfter(tokens);
  const ofLens = lens ? [...lens.tokens, ...lens.layers.map(({ leader }) => leader)] : [];
  const compared = answer ? [answer.picked, answer.against] : [];
  for (const token of [...ofLens, ...compared]) if (token) markPendingBytes(token, pending);
  for (const { first, count, instead } of answer?.parts ?? []) {
    markPendingBytes(instead, pendingAfter([...tokens.slice(Math.max(0, first - 3), first), ...tokens.slice(Math.max(first + count, tokens.length - 3))]));
  }
}

/**
 * How many tokens were to be left out, and how many were. The parts stand in the order of the text and the last of them ends it, so an answer
 * that was stopped ends before the step.
 * @param {Run} run
 * @param {LeaveOneOut} answer
 * @returns {{ tried: number, asked: number }}
 */
export function progressOf(run, { step, parts }) {
  const first = parts[0]?.first ?? 0;
  const last = parts.at(-1);
  return { tried: last ? last.first + last.count - first : 0, asked: run.header.prompt_tokens.length + step - first };
}

/**
 * @param {Run} run
 * @param {LeaveOneOut} answer
 */
export function isFinished(run, answer) {
  const { tried, asked } = progressOf(run, answer);
  return tried >= asked;
}

/**
 * Whether an answer takes the place of the one before. A finished one stays until another is finished; one that was stopped, until another has
 * as many parts.
 * @param {Run} run
 * @param {LeaveOneOut | undefined} answer
 * @param {LeaveOneOut | undefined} before
 */
export function takesPlaceOf(run, answer, before) {
  if (!answer || !before || isFinished(run, answer)) return true;
  return !isFinished(run, before) && answer.parts.length >= before.parts.length;
}

/**
 * @param {number | null | undefined} logprob null where the probability is 0
 * @returns {number}
 */
export const probabilityOf = (logprob) => Math.exp(logprob ?? -Infinity);

/**
 * How far the pick is ahead of the other candidate, in nats.
 * @param {LeaveOneOut} answer
 * @returns {number}
 */
export const leadOf = ({ picked, against }) => (picked.logprob ?? -Infinity) - (against?.logprob ?? -Infinity);

/**
 * Of the pick's log-probability, or of its lead over another candidate, in nats: below 0, the part speaks for the pick. A change of the probability
 * itself would tell no two parts apart without which hardly anything is left of it.
 * @param {LeaveOneOut} answer
 * @param {LeftOut} part
 * @returns {number}
 */
export function changeOf(answer, part) {
  if (!answer.against) return (part.logprob ?? -Infinity) - (answer.picked.logprob ?? -Infinity);
  return (part.logprob ?? -Infinity) - (part.against_logprob ?? -Infinity) - leadOf(answer);
}

/**
 * The part that changes most.
 * @param {LeaveOneOut} answer
 * @returns {LeftOut | undefined}
 */
export function strongestPart(answer) {
  const size = (/** @type {LeftOut} */ part) => Math.abs(changeOf(answer, part)) || 0;
  return answer.parts.toSorted((a, b) => size(b) - size(a))[0];
}

/**
 * The layer from which on the pick leads to the end; null where it does not lead there.
 * @param {Lens} lens
 * @returns {number | null}
 */
export function leadsFrom({ tokens, layers }) {
  const last = layers.findLastIndex(({ leader }) => leader.token_id !== tokens[0]?.token_id);
  return last + 1 < layers.length ? last + 1 : null;
}
