// The "Why?" tab: what the layers say at the chosen step (why_lens.js), and what the text says without a part of it (why_text.js). Knows a run's
// records; how they are asked for is in why_question.js.

import { percent } from "../core/numbers.js";
import { texts } from "../core/texts.js";
import { labelOf } from "../core/tokens.js";
import { drawLens } from "./why_lens.js";
import { drawAsked, drawWithout } from "./why_text.js";

/** @import { Step } from "../core/run.js" */
/** @import { State } from "../core/state.js" */
/** @import { LeaveOneOut } from "../core/why.js" */
/** @import { Parts } from "../view/panel_elements.js" */

/**
 * @typedef {object} OpenQuestion
 * @property {boolean} isOpen
 * @property {LeaveOneOut | null} growing what has come of it, where it is still open
 * @property {string} next the key of a sentence about what can be asked now, or about the question that was stopped
 * @property {string} refusal why there is no lens
 * @property {{ leave_one_out: string, lens: string }} reasons why there is no answer of a kind yet, as the key of a sentence
 */

/** @type {OpenQuestion} */
const NOTHING_ASKED = { isOpen: false, growing: null, next: "", refusal: "", reasons: { leave_one_out: "why.without.none", lens: "why.lens.none" } };

/**
 * @param {Parts} parts
 * @param {State} state
 * @param {(parts: Parts, state: State, step: Step, found: LeaveOneOut | null) => OpenQuestion} [drawQuestion] where a model can be asked
 * @param {Parameters<typeof drawLens>[4]} [drawPicture] where plotly.js may come
 */
export function drawWhy(parts, state, drawQuestion, drawPicture) {
  const { run, chosen } = state;
  const page = parts.whyTab;
  const step = run.steps[chosen];
  if (!step) return;
  const values = { step: chosen + 1, token: labelOf(step.picked), probability: percent(step.picked.probability) };
  texts.write(page.querySelector(".gs-why-step"), "why.step", values);
  const found = run.why.get(`leave_one_out ${chosen}`)?.leave_one_out ?? null;
  const box = page.querySelector(".gs-without");
  const question = drawQuestion?.(parts, state, step, found) ?? NOTHING_ASKED;
  drawWithout(box, run, chosen, found, question.isOpen, question.reasons.leave_one_out);
  drawAsked(box, run, found, question);
  const layers = page.querySelector(".gs-lens");
  const lens = run.why.get(`lens ${chosen}`)?.lens ?? null;
  layers.hidden = !run.end && !lens; // it is said once that nothing can be asked yet
  drawLens(layers, lens, question.refusal, question.isOpen ? "" : question.reasons.lens, drawPicture);
}
