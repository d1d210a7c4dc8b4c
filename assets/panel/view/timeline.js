// The strip of all steps: a bar a step, its height the picked token's probability. One slider to keyboards and screen readers.

import { stepTitle } from "../core/descriptions.js";
import { percent } from "../core/numbers.js";
import { slotsOf } from "../core/run.js";
import { make } from "./elements.js";

/** @import { Run } from "../core/run.js" */
/** @import { Parts } from "./panel_elements.js" */

/**
 * @param {Parts} parts
 * @param {Run} run
 * @param {number} drawn
 * @param {number} until
 */
export function drawTimeline(parts, run, drawn, until) {
  if (drawn === 0) parts.strip.replaceChildren();
  for (const step of run.steps.slice(drawn, until)) {
    const bar = make("span", "gs-strip-bar");
    bar.style.setProperty("--p", String(step.picked.probability));
    bar.classList.toggle("gs-forced", step.forced);
    parts.strip.append(bar);
  }
  // While a run goes on, the strip has room for all the steps that were asked for, so that nothing moves.
  if (parts.strip.style.getPropertyValue("--slots") !== String(slotsOf(run))) parts.strip.style.setProperty("--slots", slotsOf(run));
}

/**
 * @param {Parts} parts
 * @param {Run} run
 * @param {number} chosen
 */
export function markTimeline(parts, run, chosen) {
  const { strip } = parts;
  strip.querySelector(".gs-chosen")?.classList.remove("gs-chosen");
  const step = run.steps[chosen];
  if (!step) return;
  strip.children[chosen].classList.add("gs-chosen");
  strip.setAttribute("aria-valuemax", run.steps.length);
  strip.setAttribute("aria-valuenow", chosen + 1);
  strip.setAttribute("aria-valuetext", `${stepTitle(run, chosen)}, ${percent(step.picked.probability)}`);
}

/**
 * The step under a pointer, anywhere in its column.
 * @param {Parts} parts
 * @param {Run} run
 * @param {number} clientX
 * @returns {number}
 */
export function stepAt(parts, run, clientX) {
  const box = parts.strip.getBoundingClientRect();
  const slot = Math.floor(((clientX - box.left) / box.width) * slotsOf(run));
  return Math.min(Math.max(slot, 0), run.steps.length - 1);
}
