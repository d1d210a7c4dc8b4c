// The rows of a step's bar chart: its candidates, a pick from beyond them, and everything else.

import { markOfPick, shareOf } from "./how_picked.js";
import { texts } from "./texts.js";
import { idLabel, labelOf } from "./tokens.js";
import { isolate } from "./visible.js";

/** @import { Candidate, Step } from "./run.js" */

/**
 * @typedef {object} Row
 * @property {string} label
 * @property {number} probability
 * @property {string} id
 * @property {"argmax" | "forced" | "other" | "rest"} kind
 * @property {string} [mark]
 * @property {number | null} [share] in what the step was drawn from
 * @property {Candidate} [token] none for everything else
 * @property {number} [tokenId]
 */

export const MARKS = { argmax: "▸ ", other: "" };

/**
 * @param {Step} step
 * @returns {Row[]}
 */
export function rowsOf(step) {
  const { picked } = step;
  /** @type {(candidate: Candidate) => "argmax" | "forced" | "other"} */
  const kindOf = (candidate) => {
    if (step.forced && candidate.rank === picked.rank) return "forced";
    return candidate.rank === 0 ? "argmax" : "other";
  };
  /** @type {(candidate: Candidate) => string} */
  const markOf = (candidate) => {
    const kind = kindOf(candidate);
    return kind === "forced" ? markOfPick(step) : MARKS[kind];
  };
  const candidates = picked.rank < step.candidates.length ? step.candidates : [...step.candidates, picked];
  const rows = candidates.map((candidate) => ({
    label: markOf(candidate) + isolate(labelOf(candidate)),
    mark: markOf(candidate),
    share: shareOf(step, candidate),
    token: candidate,
    probability: candidate.probability,
    id: idLabel(candidate),
    tokenId: candidate.token_id,
    kind: kindOf(candidate),
  }));
  // A pick from beyond the candidates has a row of its own, and so is no longer among the others.
  const rest = candidates === step.candidates ? step.rest : Math.max(0, step.rest - picked.probability);
  return [...rows, { label: texts.translate("bars.rest"), probability: rest, id: "", kind: "rest" }];
}
