// The steps of a run, in the text and on the timeline. A run that has ended is drawn at once; of one that grows, as many steps as a frame has
// time for: more than usual come at once only where a tab was hidden. Knows no step's look.

import { drawText, markLoops } from "./text.js";
import { drawTimeline } from "./timeline.js";

/** @import { Run } from "../core/run.js" */
/** @import { Parts } from "./panel_elements.js" */

/** @typedef {{ text: number, loops: boolean }} Drawn steps that are drawn already, and whether loops are marked */

const MOST_STEPS = 64; // a frame

/**
 * @param {Parts} parts
 * @param {Run} run
 * @param {Drawn} drawn
 * @returns {boolean} whether a frame has no time for all of them, and these were the first
 */
export function drawFirstSteps(parts, run, drawn) {
  if (run.end || run.steps.length - drawn.text <= MOST_STEPS) return false;
  drawSteps(parts, run, drawn, drawn.text + MOST_STEPS);
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
  if (!run.end || drawn.loops) return false;
  markLoops(parts, run);
  drawn.loops = true;
  return true;
}
