// Text that can be shown safely: what is invisible becomes a sign, and nothing turns the direction of what stands beside it.

/** @type {Record<string, string>} */
const SIGNS = { " ": "·", "\n": "↵", "\t": "⇥", "\r": "␍" };
const INVISIBLE = /[\p{C}\p{Zl}\p{Zp}\p{Zs}]/gu;

/**
 * A label in which nothing is invisible, and nothing can turn the direction of what stands beside it.
 * @param {string} text
 * @returns {string}
 */
export function visible(text) {
  return text.replace(INVISIBLE, (c) => SIGNS[c] ?? `\\u${Number(c.codePointAt(0)).toString(16).padStart(4, "0")}`);
}

// What is opened or ended here may be out of pairs, and then a frame of CSS around it does not close it, and it turns what comes after.
export const FRAMES = /[\u202a-\u202e\u2066-\u2069]/gu;
const TURNS = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/**
 * Somebody's words within a sentence: they stay as they are, but what stands beside them is not turned around.
 * @param {string} words
 * @returns {string}
 */
export function showDirectionMarks(words) {
  return words.replace(TURNS, visible);
}

const EMOJI_JOINER = /(?<=\p{Extended_Pictographic}|\p{Emoji_Modifier}|\ufe0f)\u200d(?=\p{Extended_Pictographic})/u;

/**
 * A text as one line in which only its spaces are invisible, and what joins several emoji to one.
 * @param {string} text
 * @returns {string}
 */
export function oneLine(text) {
  return text.split(EMOJI_JOINER).map((part) => part.split(" ").map(visible).join(" ")).join("\u200d");
}

/**
 * @param {string} text
 * @returns {string[]}
 */
export function lettersOf(text) {
  return Array.from(new Intl.Segmenter().segment(text), ({ segment }) => segment);
}
