// Short descriptions of a run and its steps in the reader's language, used by several views.

import { recordSentence } from "./record_sentences.js";
import { texts } from "./texts.js";
import { labelOf } from "./tokens.js";
import { lettersOf, oneLine } from "./visible.js";

/** @import { Model, Run } from "./run.js" */

// How the weights are stored, where they are not what is computed with: decoding/models/spec_gguf.py, spec_config.py.
const STORED_AS = /(?:^|, )([\w -]+ weights, computed in \w+)(?:,|$)/;
/**
 * @param {Model} model
 * @returns {string}
 */
export const dtypeOf = ({ engine, dtype }) => recordSentence(STORED_AS.exec(engine)?.[1] ?? dtype);

/**
 * Whether a model's numbers are those of transformers' network in float32: a word, "" where that is unknown.
 * @param {Model} model
 * @returns {string}
 */
export function exactness({ engine, dtype }) {
  if (engine.includes(", unproven,")) return texts.translate("head.unproven"); // decoding/engines/onnx/engine.py
  return { "float32": texts.translate("head.exact"), "as printed": "", "unknown dtype": "" }[dtype] ?? texts.translate("head.not_exact");
}

/**
 * @param {Run} run
 * @param {number} chosen
 * @returns {Record<string, string | number>}
 */
export function titleValues(run, chosen) {
  return { step: chosen + 1, steps: run.steps.length, token: labelOf(run.steps[chosen].picked) };
}

/**
 * @param {Run} run
 * @param {number} chosen
 * @returns {string}
 */
export function stepTitle(run, chosen) {
  return texts.translate("step.title", titleValues(run, chosen));
}

/**
 * A prompt in a sentence: its first letters on one line.
 * @param {string} prompt
 * @param {number} [most]
 * @returns {string}
 */
export function shortened(prompt, most = 40) {
  const letters = lettersOf(oneLine(prompt).slice(0, 4 * most).toWellFormed());
  if (letters.length === 0) return texts.translate("prompt.empty");
  return letters.length > most ? `${letters.slice(0, most).join("")}…` : letters.join("");
}
