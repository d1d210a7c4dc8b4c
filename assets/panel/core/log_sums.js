// Logits and log sums of a step, from the probabilities and sums that a run keeps.

/** @import { Candidate, Step } from "./run.js" */

/**
 * log Σ exp(logit · power) over the whole vocabulary, power being 1 / T; undefined where the run kept no logits.
 * @param {Step} step
 * @param {number} [power]
 * @returns {number | undefined}
 */
export function logSum(step, power = 1) {
  return step.log_sums?.find(([each]) => each === power)?.[1];
}

/**
 * @param {Step} step
 * @param {Candidate} candidate
 * @returns {number}
 */
export function logitOf(step, candidate) {
  return candidate.logprob === null ? -Infinity : candidate.logprob + (logSum(step) ?? NaN);
}

/**
 * The candidates, and the pick if it is not among them.
 * @param {Step} step
 * @returns {Candidate[]}
 */
export function optionsOf(step) {
  return step.picked.rank < step.candidates.length ? step.candidates : [...step.candidates, step.picked];
}
