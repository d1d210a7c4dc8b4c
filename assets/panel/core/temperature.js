// A step's probabilities at another temperature: what sampling would see. A run keeps the exact sums over the whole vocabulary at a few
// temperatures, so that no number is estimated, everything else included.

import { logitOf, logSum } from "./log_sums.js";

/** @import { Candidate, Step } from "./run.js" */

const scaledSteps = new WeakMap(); // by step and power, so that what is drawn already is known again

/**
 * @param {Step} step
 * @returns {number[]}
 */
export function temperaturesOf(step) {
  return (step.log_sums ?? []).map(([power]) => power).toSorted((a, b) => b - a); // 1 / T: the coldest first
}

/**
 * The step with its probabilities at 1 / T = power; the tokens, their order and the pick stay.
 * @param {Step} step
 * @param {number} power
 * @returns {Step}
 */
export function atTemperature(step, power) {
  if (power === 1) return step;
  if (!scaledSteps.has(step)) scaledSteps.set(step, new Map());
  const known = scaledSteps.get(step);
  if (!known.has(power)) known.set(power, scaleStep(step, power));
  return known.get(power);
}

/**
 * @param {Step} step
 * @param {number} power
 * @returns {Step}
 */
function scaleStep(step, power) {
  const sum = /** @type {number} */ (logSum(step, power)); // asked for only where the run keeps it
  /** @type {(candidate: Candidate) => number} */
  const probability = (candidate) => Math.min(1, Math.exp(logitOf(step, candidate) * power - sum));
  /** @type {(candidate: Candidate) => Candidate} */
  const at = (candidate) => ({ ...candidate, probability: probability(candidate) });
  const candidates = step.candidates.map(at);
  const rest = Math.max(0, 1 - candidates.reduce((total, each) => total + each.probability, 0));
  return { ...step, candidates, picked: at(step.picked), rest };
}

/**
 * "2/3" where decimals would only be near it.
 * @param {number} power
 * @returns {string}
 */
export function temperatureLabel(power) {
  const temperature = 1 / power;
  const thirds = Math.round(temperature * 3);
  return Math.abs(temperature * 100 - Math.round(temperature * 100)) < 1e-9 ? String(temperature) : `${thirds}/3`;
}
