// Text that can be shown safely: what is invisible becomes a sign, and nothing turns the direction of what stands beside it.

/** @type {Record<string, string>} */
const SIGNS = { " ": "·", "\n": "↵", "\t": "⇥", "\r": "␍" };
const INVISIBLE = /(?!(?<=[\ufe0f\u2600-\u27bf\u{1f000}-\u{1faff}])\u200d[\u2190-\u2bff\u{1f000}-\u{1faff}])[\p{C}\p{Zl}\p{Zp}\p{Zs}]/gu; // but for what joins several emoji to one

/**
 * A label in which nothing is invisible, and nothing can turn the direction of what stands beside it. A combining mark without a letter
 * stands on a dotted circle. decoding/record/tokens.py does the same.
 * @param {string} text
 * @returns {string}
 */
export function visible(text) {
  return text.replace(/^\p{M}/u, "\u25cc$&").replace(INVISIBLE, (c) => {
    const digits = Number(c.codePointAt(0)).toString(16);
    return SIGNS[c] ?? (digits.length > 4 ? `\\u{${digits}}` : `\\u${digits.padStart(4, "0")}`);
  });
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

/**
 * A text as one line in which only its spaces are invisible.
 * @param {string} text
 * @returns {string}
 */
export function oneLine(text) {
  return text.split(" ").map(visible).join(" ");
}

/**
 * @param {string} text
 * @returns {string[]}
 */
export function lettersOf(text) {
  return Array.from(new Intl.Segmenter().segment(text), ({ segment }) => segment);
}
