// What is too large to be drawn: a run from a file is held against the server's own limits (`LIMITS`, see decoding/limits.py) before
// anything is made of it. Whether its numbers fit together is the library's to say.

import { LIMITS } from "./constants.js";
import { texts } from "./texts.js";

/**
 * Why a run's text is not shown, in a sentence; "" where nothing of it is too large. It ends at the first thing that is.
 * @param {string} text
 * @returns {string}
 */
export function refusalOf(text) {
  if (text.length > LIMITS.bytes) return texts.translate("limits.size", { size: (text.length / 2 ** 20).toFixed(1), most: LIMITS.bytes / 2 ** 20 });
  let count = 0;
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) count++;
  if (count > LIMITS.lines) return texts.translate("limits.steps", { steps: count - 2, most: LIMITS.textTokens });
  for (const [n, line] of text.split("\n").entries()) {
    const found = firstTooLarge(line, n);
    if (found) return texts.translate("limits.line", { number: n + 1, place: found[0], size: found[1], most: found[2] });
  }
  return "";
}

/**
 * The first part of a line that is too large: its name, its size, and the most there may be.
 * @param {string} line
 * @param {number} n
 * @returns {[string, number, number] | null}
 */
function firstTooLarge(line, n) {
  if (n > 0 && line.length > LIMITS.stepCharacters) return ["line", line.length, LIMITS.stepCharacters];
  let record;
  try {
    record = JSON.parse(line);
  } catch {
    return null; // what is no run has other words said of it
  }
  if (record === null || typeof record !== "object") return null;
  for (const [place, size, most] of sizesOf(record)) if (size > most) return [place, size, most];
  return null;
}

/**
 * @param {any} record
 * @returns {Generator<[string, number, number]>}
 */
function* sizesOf(record) {
  yield ["prompt", lengthOf(record.prompt, LIMITS.promptCharacters), LIMITS.promptCharacters];
  yield ["prompt_tokens", entriesOf(record.prompt_tokens).length, LIMITS.promptTokens];
  yield ["top_k", Number(record.top_k ?? 0), LIMITS.choices];
  yield ["max_new_tokens", Number(record.max_new_tokens ?? 0), LIMITS.textTokens];
  yield ["candidates", entriesOf(record.candidates).length, LIMITS.choices];
  yield ["draw", entriesOf(record.draw?.probabilities).length, LIMITS.choices];
  yield ["log_sums", entriesOf(record.log_sums).length, LIMITS.logSums];
  yield ["beams", entriesOf(record.beams).length, 2 * LIMITS.beams];
  yield ["prompt_scores", entriesOf(record.prompt_scores).length, LIMITS.textTokens];
  yield ["finished", entriesOf(record.finished).length, LIMITS.beams];
  yield ["loops", entriesOf(record.loops).length, LIMITS.textTokens];
  for (const loop of entriesOf(record.loops)) {
    for (const name of ["start", "period", "repeats"]) yield [`loops.${name}`, Number(loop?.[name] ?? 0), LIMITS.textTokens];
  }
  for (const token of [...entriesOf(record.prompt_tokens), ...entriesOf(record.candidates), ...entriesOf(record.beams), record.picked]) {
    yield ["text", lengthOf(token?.text, LIMITS.tokenCharacters), LIMITS.tokenCharacters];
    yield ["bytes", lengthOf(token?.bytes, 8 * LIMITS.tokenCharacters), 8 * LIMITS.tokenCharacters];
  }
  yield ["tokens", entriesOf(record.lens?.tokens).length, LIMITS.lensTokens];
  yield ["layers", entriesOf(record.lens?.layers).length, LIMITS.layers + 1];
  yield ["parts", entriesOf(record.leave_one_out?.parts).length, LIMITS.leftOut];
  for (const token of entriesOf(record.lens?.tokens)) yield ["text", lengthOf(token?.text, LIMITS.tokenCharacters), LIMITS.tokenCharacters];
  yield ["remarks", entriesOf(record.remarks).length, LIMITS.remarks];
  for (const text of entriesOf(record.remarks)) yield ["remarks", lengthOf(text, LIMITS.noteCharacters), LIMITS.noteCharacters];
  for (const [name, text] of Object.entries({ note: record.note, message: record.message, ...record.model })) {
    yield [name, lengthOf(text, LIMITS.noteCharacters), LIMITS.noteCharacters];
  }
}

/**
 * @param {any} value
 * @returns {any[]}
 */
function entriesOf(value) {
  return Array.isArray(value) ? value : [];
}

/**
 * As Python counts: by characters, of which JavaScript's length counts some twice.
 * @param {unknown} text
 * @param {number} most
 * @returns {number}
 */
export function lengthOf(text, most) {
  if (typeof text !== "string") return 0;
  return text.length > most && text.length <= 2 * most ? Array.from(text).length : text.length;
}

export class Refused extends Error {}
