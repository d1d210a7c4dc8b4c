// What a model can be asked about a step, and why there is no answer yet. Knows no element of the page; a file of a run does without, since
// nothing is asked there.

import { tokensBefore } from "./why.js";

/** @import { Run, Step } from "./run.js" */

/**
 * Why there is no answer about a step, as the key of a sentence. A run whose source printed no ids can be asked about by no model.
 * @param {Run} run
 * @param {number} step
 * @param {"leave_one_out" | "lens"} kind of answer
 */
export function reasonForNone(run, step, kind) {
  const before = tokensBefore(run, step);
  if (!hasIds(run, step)) return "server.why_token.no_ids";
  if (run.forgotten.has(`${kind} ${step}`)) return "why.ask.forgotten";
  if (kind === "lens") return "why.lens.none";
  return before.length < 2 ? "why.without.nothing" : run.end ? "why.without.none" : "why.without.growth";
}

/**
 * Whether a step and the text before it have token ids.
 * @param {Run} run
 * @param {number} step
 */
export function hasIds(run, step) {
  return run.header.prompt_tokens.length > 0 && [...tokensBefore(run, step), run.steps[step].picked].every(({ token_id: id }) => id >= 0);
}

/**
 * The lines of a run up to a step, which are all that a model needs to be asked about it.
 * @param {Run} run
 * @param {Step} step
 * @returns {string}
 */
export function linesUpTo(run, step) {
  return [...run.text.split("\n").slice(0, step.index + 2), '{"stop_reason":"stopped"}', ""].join("\n");
}
