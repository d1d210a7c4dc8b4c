// The server's messages in the reader's language. A message arrives as its code, which names a text under "server.", and as parameters for
// the places of that text, each a text or a message too: see decoding/messages.py. A text without a code stays as it came. What a record
// holds has no codes: core/record_sentences.js.

import { LIMITS } from "./constants.js";
import { texts } from "./texts.js";
import { showDirectionMarks } from "./visible.js";

/** @typedef {{ code: string, parameters?: Record<string, unknown>, text?: string }} Message `text` is its English sentence */

const MOST_NESTED = 4; // a message within a message within …
const MOST_PARTS = 16; // facts in a row, or parameters

/**
 * @param {unknown} message a Message, a text, or a row of them
 * @param {number} [depth]
 * @returns {string}
 */
export function sentenceOf(message, depth = 0) {
  if (Array.isArray(message)) return truncated(message.slice(0, MOST_PARTS).map((each) => sentenceOf(each, depth + 1)).join(" · "));
  if (message === null || typeof message !== "object") return showDirectionMarks(truncated(String(message ?? "")));
  const { code, parameters = {}, text = "" } = /** @type {Message} */ (message);
  const key = `server.${code}`;
  if (depth > MOST_NESTED || !texts.hasText(key)) return sentenceOf(String(text)); // of a server that is newer than this page
  const filled = Object.entries(parameters ?? {}).slice(0, MOST_PARTS).map(([name, value]) => [name, sentenceOf(value, depth + 1)]);
  return truncated(texts.translate(key, Object.fromEntries(filled)));
}

/** @param {string} text */
function truncated(text) {
  return text.length > LIMITS.noteCharacters ? `${text.slice(0, LIMITS.noteCharacters)}…` : text;
}
