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
 * @property {boolean} isAnotherChoice the fields ask for something else than the answer tells
 * @property {string} refusal why there is no lens
 */

/** @type {OpenQuestion} */
const NOTHING_ASKED = { isOpen: false, growing: null, isAnotherChoice: false, refusal: "" };

/**
 * @param {Parts} parts
 * @param {State} state
 * @param {(parts: Parts, state: State, step: Step, found: LeaveOneOut | null) => OpenQuestion} [drawQuestion] where a model can be asked
 * @param {Parameters<typeof drawLens>[3]} [drawPicture] where plotly.js may come
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
  drawWithout(box, run, chosen, found);
  const question = drawQuestion?.(parts, state, step, found) ?? NOTHING_ASKED;
  drawAsked(box, run, found, question);
  drawLens(page.querySelector(".gs-lens"), run.why.get(`lens ${chosen}`)?.lens ?? null, question.refusal, drawPicture);
}
