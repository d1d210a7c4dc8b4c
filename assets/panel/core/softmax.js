// Logits and log sums of a step, from the probabilities and sums that a run keeps.

// log Σ exp(logit · power) over the whole vocabulary, power being 1 / T; undefined where the run kept no logits.
export function logSum(step, power = 1) {
  return step.log_sums?.find(([each]) => each === power)?.[1];
}

export function logitOf(step, candidate) {
  return candidate.logprob === null ? -Infinity : candidate.logprob + logSum(step);
}

// The candidates and, where it is none of them, the pick.
export function optionsOf(step) {
  return step.picked.rank < step.candidates.length ? step.candidates : [...step.candidates, step.picked];
}
