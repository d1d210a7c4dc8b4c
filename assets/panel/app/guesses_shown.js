// What the game of "Predict, then reveal" shows: the candidates to choose from, the sentence of a guess, its mark at the bars, and the tally of
// all. Keeps no guess, and does not know what a press or a key does.

import { scoreOf } from "../core/guesses.js";
import { percent } from "../core/numbers.js";
import { optionsOf } from "../core/log_sums.js";
import { texts } from "../core/texts.js";
import { labelOf } from "../core/tokens.js";
import { headCell, label, make } from "../view/elements.js";

/** @import { Candidate, Run, Step } from "../core/run.js" */
/** @import { Values } from "../core/texts.js" */
/** @import { Parts } from "../view/panel_elements.js" */

/**
 * @typedef {object} Guessed what was guessed at a step that is revealed
 * @property {number | null} rank null for a token that the run did not keep
 * @property {number} probability the most that it can be, for such a token
 * @property {string | null} text the guess in words
 * @property {Record<number, number> | null} hands how many were raised for each rank; null where nobody was asked for them
 * @property {number} options how many there were
 * @property {boolean} isSkipped no guess counts
 */

/**
 * The title and the slider, which would otherwise go on naming the step that was looked at before.
 * @param {Parts} parts
 * @param {number} step counted from 1
 */
export function drawQuestion(parts, step) {
  parts.stepTitle.textContent = texts.translate("predict.ask", { step });
  for (const [name, value] of [["valuemax", step], ["valuenow", step], ["valuetext", parts.stepTitle.textContent]]) parts.strip.setAttribute(`aria-${name}`, value);
}

/**
 * @param {Candidate} option
 * @param {number} place
 * @param {number | null} hands that are raised for it; null where it is chosen alone
 * @param {(hands: number) => void} onCount
 * @returns {HTMLLIElement}
 */
export function optionItem(option, place, hands, onCount) {
  const item = make("li", "");
  const button = make("button", "gs-button");
  button.append(label(option));
  button.type = "button";
  button.dataset.guess = String(place);
  item.append(button);
  if (hands === null) return item;
  const field = make("input", "");
  Object.assign(field, { type: "number", min: 0, max: 999, value: hands });
  field.setAttribute("aria-label", texts.translate("predict.hands.for", { token: labelOf(option) }));
  field.addEventListener("input", () => onCount(Math.min(999, Math.max(0, Math.trunc(Number(field.value)) || 0))));
  item.append(field, make("span", "", "✋"));
  return item;
}

/**
 * @param {HTMLElement} slot
 * @param {string} key
 * @param {Values} [values]
 * @param {string} [ending]
 */
export function announce(slot, key, values = {}, ending = "") {
  slot.dataset.key = key;
  const sentence = texts.translate(key, values) + ending;
  if (slot.textContent === sentence) return; // spoken once
  texts.write(slot, key, values);
  slot.append(ending);
}

/**
 * @param {HTMLElement} slot
 * @param {Guessed} guess
 * @param {Candidate} picked
 * @param {string} ending
 */
export function announceGuess(slot, guess, picked, ending) {
  announce(slot, keyOfGuess(guess, picked), { guess: guess.text ?? "", rank: (guess.rank ?? guess.options) + 1, share: percent(guess.probability), token: labelOf(picked), picked: percent(picked.probability) }, ending);
}

/**
 * @param {Guessed} guess
 * @param {Candidate} picked
 * @returns {string} of the sentence
 */
function keyOfGuess(guess, picked) {
  if (guess.isSkipped) {
    const hasHands = Object.values(guess.hands ?? {}).some((hands) => hands > 0); // then it was a tie
    return hasHands ? "predict.tied" : "predict.nobody";
  }
  if (guess.rank === null) return "predict.beyond";
  return guess.rank === picked.rank ? "predict.right" : "predict.wrong";
}

/** @param {ParentNode} bars */
export function clearMarks(bars) {
  for (const mark of bars.querySelectorAll(".gs-mine")) mark.remove();
}

/**
 * @param {ParentNode} bars
 * @param {Guessed} guess
 * @param {Step} step
 */
export function markGuess(bars, guess, step) {
  const options = optionsOf(step);
  for (const [place, row] of [...bars.querySelectorAll(".gs-bar-value")].entries()) {
    const rank = options[place]?.rank ?? null; // none for everything else
    const hands = rank === null ? 0 : guess.hands?.[rank];
    if (hands) row.append(make("span", "gs-mine", ` ✋ ${hands}`));
    else if (!guess.hands && guess.rank === rank) row.append(make("span", "gs-mine", ` ◆ ${texts.translate("predict.yours")}`));
  }
}

/**
 * The score of the guesses, and that of the model on the same steps.
 * @param {HeadedTable & { caption: HTMLTableCaptionElement }} table
 * @param {Run} run as much of it as is revealed
 * @param {Guessed[]} all
 */
export function drawTally(table, run, all) {
  const guesses = all.filter((guess) => !guess.isSkipped);
  table.hidden = guesses.length === 0;
  if (table.hidden) return;
  const { top_k: k } = run.header;
  const steps = run.steps.filter(({ index }) => !all[index].isSkipped);
  const own = guesses.map(({ rank, probability, options }) => ({ rank: rank ?? options, probability, isBound: rank === null }));
  /** @type {[string, string[]][]} */
  const rows = [
    [texts.translate(guesses.some(({ hands }) => hands) ? "predict.class" : "predict.you"), scoreOf(own, k)],
    [texts.translate("predict.model"), scoreOf(steps.map(({ picked }) => picked), k)],
  ];
  table.caption.textContent = texts.translate("predict.score", { count: guesses.length });
  table.tHead.rows[0].replaceChildren(
    make("td", ""),
    ...[texts.translate("predict.score.rank"), texts.translate("predict.score.top", { choices: k }), texts.translate("predict.score.bits")].map((title) => headCell(title, "col")),
  );
  table.tBodies[0].replaceChildren(...rows.map(([name, score]) => {
    const row = make("tr", "");
    row.append(headCell(name, "row"), ...score.map((text) => make("td", "", text)));
    return row;
  }));
}
