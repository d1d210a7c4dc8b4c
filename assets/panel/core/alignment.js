// Two runs of one prompt by different models. Models cut a text into different tokens, so steps are aligned by their position in the text.
// A position counts UTF-16 units, as JavaScript strings do, from the end of the prompt.

/** @import { Run } from "./run.js" */

/**
 * @param {Run} a
 * @param {Run} b
 * @returns {boolean}
 */
export const areOtherModels = (a, b) => a.header.model.id !== b.header.model.id && a.header.prompt === b.header.prompt;
/**
 * @param {Run} run
 * @returns {string}
 */
export const generatedText = (run) => run.pieces.join("");
/**
 * @param {string} text
 * @returns {number}
 */
export const countCharacters = (text) => [...text].length;

/**
 * The first character that differs. -1 if the texts are the same, or one continues where the other stops.
 * @param {Run} a
 * @param {Run} b
 * @returns {number}
 */
export function differingPosition(a, b) {
  const [left, right] = [generatedText(a), generatedText(b)];
  const shorter = Math.min(left.length, right.length);
  let place = 0;
  while (place < shorter && left[place] === right[place]) place++;
  if (place === shorter) return -1;
  return place > 0 && /[\uD800-\uDBFF]/.test(left[place - 1]) ? place - 1 : place; // never half of a character
}

/**
 * Where each token's text ends. A token that completes no character ends where it begins, and belongs to what comes after it.
 * @param {Run} run
 * @returns {number[]}
 */
function tokenEnds(run) {
  let end = 0;
  return run.pieces.map((piece) => (end += piece.length));
}

/**
 * @param {Run} run
 * @param {number} index
 * @returns {number}
 */
export const startOf = (run, index) => tokenEnds(run)[index - 1] ?? 0;

/**
 * The step whose token holds a position, or the last one where the text is shorter.
 * @param {Run} run
 * @param {number} place
 * @returns {number}
 */
export function stepHolding(run, place) {
  const index = tokenEnds(run).findIndex((end) => end > place);
  return index < 0 ? run.steps.length - 1 : index;
}

/**
 * The first step at which the picks differ, or one run has ended; -1 where there is none.
 * @param {Run} a
 * @param {Run} b
 * @returns {number}
 */
export function firstDifference(a, b) {
  const most = Math.max(a.steps.length, b.steps.length);
  for (let n = 0; n < most; n++) {
    if (a.steps[n]?.picked.token_id !== b.steps[n]?.picked.token_id) return n;
  }
  return -1;
}

/**
 * The step of `run` at which it parts from another model's run.
 * @param {Run} other
 * @param {Run} run
 * @returns {number}
 */
export function differingStep(other, run) {
  return areOtherModels(other, run) ? stepHolding(run, Math.max(0, differingPosition(other, run))) : firstDifference(other, run);
}

/**
 * Rows that reach from one place where both texts have the end of a token to the next: [{ from, to, steps: [[…], […]] }].
 * @param {Run} a
 * @param {Run} b
 * @returns {{ from: number, to: number, steps: [number[], number[]] }[]}
 */
export function alignRuns(a, b) {
  const ends = [tokenEnds(a), tokenEnds(b)];
  const [lengthA, lengthB] = ends.map((each) => each.at(-1) ?? 0);
  const [longer, shorter] = lengthA >= lengthB ? ends : [ends[1], ends[0]];
  const known = new Set(shorter);
  const places = [...new Set(longer)].filter((end) => end > 0 && (known.has(end) || end >= Math.min(lengthA, lengthB)));
  /** @type {{ from: number, to: number, steps: [number[], number[]] }[]} */
  const rows = places.map((to, n) => ({ from: places[n - 1] ?? 0, to, steps: [[], []] }));
  ends.forEach((each, side) => {
    let row = 0;
    each.forEach((_, index) => {
      const start = each[index - 1] ?? 0;
      while (row < rows.length - 1 && start >= rows[row].to) row++;
      rows[row]?.steps[side].push(index);
    });
  });
  return rows;
}
