// The "What if" tab: the closest calls, a token of one's own, beam search, another text, loops, and the proof. The server answers
// each question with another run, or with one sentence.

import { percent } from "../core/numbers.js";
import { closestCalls } from "../core/run.js";
import { texts } from "../core/texts.js";
import { joinedLabel, labelOf } from "../core/tokens.js";
import { isolate } from "../core/visible.js";
import { make } from "../view/elements.js";

/** @import { Loop, Run, Step } from "../core/run.js" */
/** @import { State } from "../core/state.js" */
/** @import { Parts } from "../view/panel_elements.js" */

const CLOSEST = 5;

/**
 * @param {Parts} parts
 * @param {State} state
 */
export function drawWhatIf(parts, state) {
  const { run } = state;
  const { closest, loops, step } = parts.questions;
  const calls = closestCalls(run).slice(0, CLOSEST);
  closest.replaceChildren(...calls.map((call) => callItem(call)));
  parts.questions.forkClosest.disabled = calls.length === 0;
  step.textContent = run.steps.length ? texts.translate("whatif.own.place", { step: state.chosen + 1 }) : "";
  drawLoops(loops, run);
}

/** @param {Step} step */
function callItem(step) {
  const [first, second] = step.candidates;
  const item = make("li", "");
  const fork = make("button", "gs-link");
  texts.write(fork, "closest.take", { token: labelOf(second) });
  fork.type = "button";
  Object.assign(fork.dataset, { fork: second.token_id, at: step.index });
  const [one, other] = [first, second].map((candidate) => `${isolate(labelOf(candidate))} ${percent(candidate.probability)}`);
  const words = make("span", "");
  texts.write(words, "closest.call", { step: step.index + 1, first: one, second: other, margin: percent(step.margin) });
  item.append(words, " ", fork);
  return item;
}

/**
 * @param {HTMLElement} box
 * @param {Run} run
 */
function drawLoops(box, run) {
  const found = run.end?.loops ?? [];
  if (found.length === 0) {
    box.replaceChildren(make("p", "gs-aside", texts.translate(run.end ? "loops.none" : "loops.later")));
    return;
  }
  box.replaceChildren(...found.flatMap((loop) => [loopWords(run, loop), repeatBars(run, loop)]));
}

/**
 * @param {Run} run
 * @param {Loop} loop
 */
function loopWords(run, { start, period, repeats }) {
  const tokens = joinedLabel(run.steps.slice(start, start + period).map(({ picked }) => picked));
  const words = make("p", "");
  texts.write(words, "loops.found", { step: start + 1, count: period, repeats, tokens });
  return words;
}

/**
 * The picked tokens' mean probability in each repeat: usually it climbs, since each repeat makes the next more likely.
 * @param {Run} run
 * @param {Loop} loop
 */
function repeatBars(run, { start, period, repeats }) {
  const list = make("ol", "gs-repeats");
  for (let n = 0; n < repeats; n++) {
    const steps = run.steps.slice(start + n * period, start + (n + 1) * period);
    const mean = steps.reduce((sum, step) => sum + step.picked.probability, 0) / steps.length;
    const item = make("li", "gs-bar gs-argmax");
    item.style.setProperty("--p", String(mean));
    item.append(make("span", "gs-bar-label", texts.translate("loops.time", { number: n + 1 })), make("span", "gs-bar-track"), make("span", "gs-bar-value", percent(mean)));
    list.append(item);
  }
  return list;
}
