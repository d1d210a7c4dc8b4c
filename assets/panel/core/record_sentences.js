// Translates the sentences that a record holds: its note and remarks, why its device and dtype, how it ended. JSON Lines has them in
// English and without codes, and its readers refuse fields that they do not know. Each sentence is found by its text, of those that a
// record can hold (`RECORD_TEXTS`), in which {name} is a place for what varies. One that matches no text stays English. Messages that the
// page itself is sent have codes: core/server_messages.js.

import { LIMITS, RECORD_TEXTS, TEXTS } from "./constants.js";
import { texts } from "./texts.js";
import { showDirectionMarks } from "./visible.js";

/** @typedef {{ key: string, names: string[], fixed: string[], letters: number }} Pattern a text's key, its places, and what stands between them */

let patterns = /** @type {Pattern[] | null} */ (null); // made when first needed: an exported file unpacks its texts

const MOST_DEPTH = 4; // a sentence within a sentence within …: a stranger's file could go on for ever

/**
 * @param {Record<string, string>} words
 * @returns {Pattern[]}
 */
export function recordPatterns(words) {
  const known = Object.entries(words).filter(([key]) => RECORD_TEXTS.some((start) => `${key}.`.startsWith(start))).map(([key, text]) => {
    const parts = text.split(/\{(\w+)\}/);
    /** @type {(n: number) => boolean} */
    const even = (n) => n % 2 === 0;
    return { key, names: parts.filter((_, n) => !even(n)), fixed: parts.filter((_, n) => even(n)), letters: text.length };
  });
  return known.sort((a, b) => b.letters - a.letters); // what says more is tried first
}

/**
 * What stands in a sentence between the fixed parts of a text, each as short as can be; null where the sentence is another. A
 * pattern of as many wildcards would take a stranger's sentence's length to their power.
 * @param {string[]} fixed
 * @param {string} sentence
 * @returns {string[] | null}
 */
export function matchParts(fixed, sentence) {
  const [first, last] = [fixed[0], fixed[fixed.length - 1]];
  if (fixed.length === 1) return sentence === first ? [] : null;
  const end = sentence.length - last.length;
  if (end < first.length || !sentence.startsWith(first) || !sentence.endsWith(last)) return null;
  const found = [];
  let at = first.length;
  for (const part of fixed.slice(1, -1)) {
    const next = sentence.indexOf(part, at);
    if (next < 0 || next + part.length > end) return null;
    found.push(sentence.slice(at, next));
    at = next + part.length;
  }
  return [...found, sentence.slice(at, end)];
}

/**
 * @param {string} sentence
 * @param {number} [depth]
 * @returns {string}
 */
export function recordSentence(sentence, depth = 0) {
  return showDirectionMarks(translateSentence(sentence, depth));
}

/**
 * @param {string} sentence
 * @param {number} depth
 * @returns {string}
 */
function translateSentence(sentence, depth) {
  if (texts.language() === "en" || sentence === "" || sentence.length > LIMITS.noteCharacters || depth > MOST_DEPTH) return sentence;
  patterns ??= recordPatterns(TEXTS.en);
  for (const { key, names, fixed } of patterns) {
    const found = matchParts(fixed, sentence);
    const values = found?.map((part, n) => [names[n], recordSentence(part, depth + 1)]);
    if (values) return texts.translate(key, Object.fromEntries(values));
  }
  return sentence;
}
