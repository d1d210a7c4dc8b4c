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
const TURNS = /\u2068[^\u202a-\u202e\u2066-\u2069]*\u2069|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;

/**
 * Somebody's words: they stay as they are, but what stands beside them is not turned around. A whole isolate turns nothing.
 * @param {string} words
 * @returns {string}
 */
export function showDirectionMarks(words) {
  return words.replace(TURNS, (found) => (found.length > 1 ? found : visible(found)));
}

/**
 * A token or somebody's words, for a place beside other words and numbers: what runs from right to left in them takes nothing of what
 * stands beside it along, and the digits of its bytes run from left to right.
 * @param {string} words
 * @returns {string}
 */
export function isolate(words) {
  const shown = showDirectionMarks(words);
  return RIGHT_TO_LEFT.test(shown.replace(TURNS, "")) ? `\u2068${shown.replaceAll("⟨", "⟨\u200e")}\u2069` : shown;
}

/**
 * Whether a text is read from right to left, as `dir="auto"` decides it: by its first letter.
 * @param {string} text
 * @returns {boolean}
 */
export function isRightToLeft(text) {
  return RIGHT_TO_LEFT.test(/\p{L}/u.exec(text)?.[0] ?? "");
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
