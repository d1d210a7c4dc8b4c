// How a step's token was picked where argmax did not pick it: by a person, by a draw, or since the end of the text was passed over. Knows
// no element of the page.

import { labelOf } from "./tokens.js";

/** @import { Candidate, Run, Step } from "./run.js" */

/** @typedef {{ temperature?: number, top_k?: number, top_p?: number, seed?: number, first?: number }} Sampling */

/** @typedef {{ probabilities: number[], picked: number, kept: number, number: number }} Draw */

export const PICK_MARKS = { person: "✎ ", draw: "⚄ ", end: "⤳ " };

/**
 * Whether a person chose this token, so that a request for the run has to name it.
 * @param {Step} step
 * @returns {boolean}
 */
export const isChosen = (step) => step.forced && !step.draw && !step.past_end;

/**
 * @param {Step} step
 * @returns {string}
 */
export function markOfPick(step) {
  return PICK_MARKS[step.draw ? "draw" : step.past_end ? "end" : "person"];
}

/**
 * What a candidate's share was in what the draw was made from; null where nothing was drawn, 0 where it was cut.
 * @param {Step} step
 * @param {Candidate} candidate
 * @returns {number | null}
 */
export function shareOf(step, candidate) {
  if (!step.draw) return null;
  return step.draw.probabilities[candidate.rank] ?? step.draw.picked;
}

/**
 * The settings of a run, as a request names them; without any, argmax picks up to the end of the text, after the prompt as it is.
 * @param {{ past_end?: boolean, sampling?: Sampling, as_message?: boolean }} header
 * @returns {{ past_end?: true, sampling?: Sampling, as_message?: true }}
 */
export function howOf({ past_end: pastEnd, sampling, as_message: asMessage }) {
  return { ...(pastEnd && { past_end: true }), ...(sampling && { sampling }), ...(asMessage && { as_message: true }) };
}

/**
 * The key and the values of a sentence about how the step was picked; null where argmax or a person picked.
 * @param {Run} run
 * @param {Step} step
 * @returns {[string, Record<string, string | number>] | null}
 */
export function howPicked(run, step) {
  const { sampling } = run.header;
  if (step.draw && sampling) {
    const { temperature = 1, top_k: topK = 0, top_p: topP = 1, seed = 0 } = sampling;
    const key = step.past_end ? "drawn.step.end" : "drawn.step";
    return [key, { temperature, topK: topK || "–", topP, seed, kept: step.draw.kept.toLocaleString("en"), number: step.draw.number.toFixed(4) }];
  }
  return step.past_end ? ["drawn.end", { token: labelOf(step.candidates[0]) }] : null;
}
