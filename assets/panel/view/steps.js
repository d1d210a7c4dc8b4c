// The steps of a run, in the text and on the timeline. A run that has ended is drawn at once; of one that grows, as many steps as a frame has
// time for, and the state follows them. Knows no step's look.

import { texts } from "../core/texts.js";
import { setText } from "./elements.js";
import { drawText, markLoops } from "./text.js";
import { drawTimeline } from "./timeline.js";

/** @import { Run } from "../core/run.js" */
/** @import { Parts } from "./panel_elements.js" */

/** @typedef {{ text: number, loops: boolean }} Drawn steps that are drawn already, and whether loops are marked */

const MOST_STEPS = 48; // a frame

/**
 * @param {Parts} parts
 * @param {Run} run
 * @param {Drawn} drawn
 * @returns {boolean} whether a frame has no time for all of them, and these were the first
 */
export function drawFirstSteps(parts, run, drawn) {
  const isWhole = run.end && drawn.text === 0;
  if (isWhole || run.steps.length - drawn.text <= MOST_STEPS) return false;
  drawSteps(parts, run, drawn, drawn.text + MOST_STEPS);
  setText(parts.state, texts.translate("state.step", { step: drawn.text, steps: run.header.max_new_tokens }));
  return true;
}

/**
 * @param {Parts} parts
 * @param {Run} run
 * @param {Drawn} drawn
 * @param {number} [until]
 */
export function drawSteps(parts, run, drawn, until = run.steps.length) {
  drawText(parts, run, drawn.text, until);
  drawTimeline(parts, run, drawn.text, until);
  drawn.text = until;
}

/**
 * @param {Parts} parts
 * @param {Run} run
 * @param {Drawn} drawn
 * @returns {boolean} whether they were marked now: each chip of a long run is then styled anew, which takes a frame
 */
export function drawLoopMarks(parts, run, drawn) {
  if (!run.end || drawn.loops || drawn.text < run.steps.length) return false; // their chips are there first
  markLoops(parts, run);
  drawn.loops = true;
  return true;
}
