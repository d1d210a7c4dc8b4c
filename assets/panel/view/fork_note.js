// The note of a fork: one line beside the text says what the pick changed, with Undo. On a touch screen, the first tap on a candidate asks
// for confirmation. Knows the history, not how a branch is asked for.

import { markOfPick } from "../core/how_picked.js";
import { totals } from "../core/run.js";
import { texts } from "../core/texts.js";
import { labelOf } from "../core/tokens.js";
import { factorOf, haveSameModel } from "../core/verdict.js";
import { make } from "./elements.js";
import { hasOnlyTouch } from "./environment.js";

/** @import { Entry, History } from "../core/history.js" */
/** @import { State } from "../core/state.js" */
/** @import { Parts } from "./panel_elements.js" */

/**
 * @param {Parts} parts
 * @param {History} history
 * @param {boolean} isHidden
 */
export function drawForkNote(parts, history, isHidden) {
  const box = parts.root.querySelector(".gs-forked");
  const [words, undoButton] = box.children;
  const keyAndValues = isHidden ? null : forkDescription(history.shown);
  box.hidden = !keyAndValues;
  if (!keyAndValues) return;
  texts.write(words, ...keyAndValues);
  // Undo takes back the last change, and so stands here only while that is this fork.
  const last = history.undo.at(-1);
  undoButton.hidden = last?.entry !== history.shown || !last.adds;
  undoButton.disabled = !history.shown.run.end;
}

/**
 * The text's key and values, or null where the run on screen is no fork, or parts nowhere yet.
 * @param {Entry} entry
 * @returns {[string, Record<string, string | number>] | null}
 */
export function forkDescription({ kind, parent, leftAt, run }) {
  if (kind !== "branch" || !parent || leftAt === null) return null;
  const place = run.steps.findIndex(({ picked }, n) => n >= leftAt && parent.run.steps[n] && parent.run.steps[n].picked.token_id !== picked.token_id);
  if (place < 0) return null;
  const tokens = { taken: labelOf(run.steps[place].picked), left: labelOf(parent.run.steps[place].picked), mark: markOfPick(run.steps[place]) };
  if (!run.end || !parent.run.end || !haveSameModel(parent.run, run)) return ["forked.token", tokens];
  const [before, after] = [parent.run.steps.length, run.steps.length];
  if (before !== after) return ["forked.lengths", { ...tokens, before, after }];
  const lead = totals(run).logprob - totals(parent.run).logprob;
  if (!Number.isFinite(lead)) return ["forked.token", tokens];
  if (Math.abs(lead) < 1e-6) return ["forked.tie", tokens];
  return [lead > 0 ? "forked.more" : "forked.less", { ...tokens, factor: factorOf(Math.abs(lead)) }];
}

/**
 * A finger cannot point before it presses, so its first tap on a candidate asks, where it tapped; the answer is a second tap.
 * @param {Parts} parts
 * @param {State} state
 * @param {PageEvent<MouseEvent>} event
 * @returns {boolean}
 */
export function askForConfirmation(parts, state, event) {
  const asked = event.target.closest(".gs-fork-here");
  for (const open of parts.root.querySelectorAll(".gs-fork-here")) if (open !== asked) open.remove();
  const at = asked ? null : event.target.closest("[data-candidate]");
  if (asked) setTimeout(() => asked.remove());
  if (!at || !isTap(event) || parts.root.matches('.gs-predicting, [aria-busy="true"]')) return false;
  const { candidate, at: place = state.chosen } = at.dataset;
  if (state.run.steps[place]?.picked.token_id === Number(candidate)) return false;
  const question = make("button", "gs-fork-here", texts.translate("forked.ask"));
  question.type = "button";
  Object.assign(question.dataset, { candidate, at: place });
  (at.closest("td") ?? at.parentElement).append(question);
  question.focus({ preventScroll: true });
  return true;
}

/**
 * Browsers differ in what a click says of its pointer; a key's click has no detail.
 * @param {{ pointerType?: string, detail: number }} event
 */
function isTap({ pointerType = "", detail }) {
  return pointerType === "touch" || (detail > 0 && pointerType !== "mouse" && hasOnlyTouch());
}
