// Guesses of "Predict, then reveal": the order in which candidates are offered, what was typed, and the score.

import { number } from "./numbers.js";
import { optionsOf } from "./log_sums.js";

/** @import { Candidate, Step } from "./run.js" */

/** @typedef {{ rank: number, probability: number, isBound?: boolean }} Guess */

/**
 * The candidates in an order that says nothing, and is the same whenever the step is drawn: sorted by a hash of what they are.
 * @param {Step} step
 * @returns {Candidate[]}
 */
export function shuffledOptions(step) {
  return optionsOf(step).toSorted((a, b) => hashOf(step, a) - hashOf(step, b));
}

/**
 * @param {Step} step
 * @param {Candidate} option
 * @returns {number}
 */
function hashOf(step, option) {
  let hash = 2166136261 ^ step.index; // FNV-1a
  for (const letter of `${option.token_id} ${option.text}`) hash = Math.imul(hash ^ (letter.codePointAt(0) ?? 0), 16777619);
  hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b); // so that the last letters reach every bit
  return (hash ^ (hash >>> 13)) >>> 0;
}

/**
 * What was typed, as one of the candidates: as it is, without its space in front, then in capitals or without.
 * @param {Candidate[]} options
 * @param {string} typed
 * @returns {Candidate | null}
 */
export function matchingOption(options, typed) {
  const whole = options.filter(({ bytes }) => bytes === undefined);
  /** @type {((text: string) => string)[]} */
  const ways = [(text) => text, (text) => text.trim(), (text) => text.trim().toLowerCase()];
  return ways.map((normalize) => whole.find(({ text }) => normalize(text) !== "" && normalize(text) === normalize(typed))).find(Boolean) ?? null;
}

/**
 * The most that the probability of a token can be that the run did not keep: there is no more left, and the last candidate is more probable.
 * @param {Step} step
 * @returns {number}
 */
export function mostBeyondCandidates(step) {
  const rest = Math.max(0, 1 - optionsOf(step).reduce((sum, { probability }) => sum + probability, 0));
  return Math.min(rest, step.candidates[step.candidates.length - 1].probability);
}

/**
 * Mean rank (1 is first), share among the first k, and bits a token. A guess that the run did not keep has the bound of its rank and
 * of its probability, so that a mean with one in it is one too.
 * @param {Guess[]} guesses
 * @param {number} k
 * @returns {string[]}
 */
export function scoreOf(guesses, k) {
  /** @type {(quantity: (guess: Guess) => number) => number} */
  const mean = (quantity) => guesses.reduce((sum, guess) => sum + quantity(guess), 0) / guesses.length;
  const bound = guesses.some(({ isBound }) => isBound) ? "≥ " : "";
  const share = mean(({ rank, isBound }) => (!isBound && rank < k ? 1 : 0));
  return [bound + number(mean(({ rank }) => rank + 1), 2), `${(share * 100).toFixed(0)} %`, bound + number(mean(({ probability }) => -Math.log2(probability)), 2)];
}
