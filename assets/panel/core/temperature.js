// A step's probabilities at another temperature: what sampling would see. A run keeps the exact sums over the whole vocabulary at a few
// temperatures, so that no number is estimated, everything else included.

import { logitOf, logSum } from "./softmax.js";

const warmed = new WeakMap(); // by step and power, so that what is drawn already is known again

export function temperaturesOf(step) {
  return (step.log_sums ?? []).map(([power]) => power).toSorted((a, b) => b - a); // 1 / T: the coldest first
}

// The step with its probabilities at 1 / T = power; the tokens, their order and the pick stay.
export function atTemperature(step, power) {
  if (power === 1) return step;
  if (!warmed.has(step)) warmed.set(step, new Map());
  const known = warmed.get(step);
  if (!known.has(power)) known.set(power, warm(step, power));
  return known.get(power);
}

function warm(step, power) {
  const sum = logSum(step, power);
  const probability = (candidate) => Math.min(1, Math.exp(logitOf(step, candidate) * power - sum));
  const at = (candidate) => ({ ...candidate, probability: probability(candidate) });
  const candidates = step.candidates.map(at);
  const rest = Math.max(0, 1 - candidates.reduce((total, each) => total + each.probability, 0));
  return { ...step, candidates, picked: at(step.picked), rest };
}

// "2/3" where decimals would only be near it.
export function temperatureLabel(power) {
  const temperature = 1 / power;
  const thirds = Math.round(temperature * 3);
  return Math.abs(temperature * 100 - Math.round(temperature * 100)) < 1e-9 ? String(temperature) : `${thirds}/3`;
}
