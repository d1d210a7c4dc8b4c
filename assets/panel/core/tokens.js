// Token labels. A token may be a part of a character: its label shows the bytes, or the character that it completes.

import { texts } from "./texts.js";
import { visible } from "./visible.js";

/**
 * @typedef {object} Token
 * @property {number} token_id -1 where a run was recorded without ids
 * @property {string} text decoded alone
 * @property {string} [bytes] hexadecimal, where the token is no whole text
 */

/**
 * @param {Token} token
 * @returns {Uint8Array | null}
 */
export function bytesOf(token) {
  if (token.bytes === undefined) return null;
  return Uint8Array.from(token.bytes.match(/../g) ?? [], (digits) => parseInt(digits, 16));
}

// A character that is split across tokens: what came of it before a token stands in the token itself, so that its label is the same
// wherever the token is shown. A symbol's property stays in copies of the token, and out of JSON.
const PENDING_BEFORE = Symbol("before");
/** @typedef {Token & { [PENDING_BEFORE]?: Uint8Array }} MarkedToken */

export const NO_BYTES = new Uint8Array();

/**
 * What is left over after the token, where it is picked.
 * @param {MarkedToken} token
 * @param {Uint8Array} pending
 * @returns {Uint8Array}
 */
export function markPendingBytes(token, pending) {
  const bytes = bytesOf(token);
  if (bytes && pending.length) token[PENDING_BEFORE] = pending;
  return pendingWith(token, pending);
}

/**
 * @param {Token} token
 * @param {Uint8Array} pending
 * @returns {Uint8Array}
 */
function pendingWith(token, pending) {
  const bytes = bytesOf(token);
  return bytes ? unfinishedBytes(Uint8Array.of(...pending, ...bytes)) : NO_BYTES;
}

/**
 * What is left over after a text. An unfinished character has three bytes at most, so it lies within the last three tokens.
 * @param {Token[]} tokens
 * @returns {Uint8Array}
 */
export function pendingAfter(tokens) {
  let pending = /** @type {Uint8Array} */ (NO_BYTES);
  for (const token of tokens.slice(-3)) pending = pendingWith(token, pending);
  return pending;
}

/**
 * How many bytes the character has that begins with this one (RFC 3629); 0 where none begins.
 * @param {number} byte
 * @returns {number}
 */
function characterLength(byte) {
  if (byte < 0x80) return 1;
  return [[0xc2, 0xe0, 2], [0xe0, 0xf0, 3], [0xf0, 0xf5, 4]].find(([from, to]) => byte >= from && byte < to)?.[2] ?? 0;
}

/**
 * @param {Uint8Array} bytes
 * @returns {Uint8Array}
 */
function unfinishedBytes(bytes) {
  for (let count = Math.min(3, bytes.length); count > 0; count--) {
    const tail = bytes.slice(-count);
    if (characterLength(tail[0]) > count && tail.slice(1).every((byte) => byte >> 6 === 2)) return tail;
  }
  return NO_BYTES;
}

/**
 * The character that a token completes, and how many of its bytes that takes; null where it completes none.
 * @param {MarkedToken} token
 * @returns {{ text: string, added: Uint8Array, rest: Uint8Array } | null}
 */
function completedCharacter(token) {
  const [before, bytes] = [token[PENDING_BEFORE], bytesOf(token)];
  const count = before ? characterLength(before[0]) - before.length : 0;
  if (!before || !bytes || !count || bytes.length < count) return null;
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.of(...before, ...bytes.slice(0, count)));
    return { text: visible(text), added: bytes.slice(0, count), rest: bytes.slice(count) };
  } catch {
    return null; // these bytes belong to no character
  }
}

/**
 * @param {Token} token
 * @returns {string}
 */
export function labelOf(token) {
  return labelParts(token).join("");
}

/**
 * The labels of consecutive tokens as one. A character whose bytes are all there is written as that, and a combining mark that follows its
 * letter needs no dotted circle.
 * @param {Token[]} tokens
 * @returns {string}
 */
export function joinedLabel(tokens) {
  /** @type {MarkedToken[]} */
  const whole = [];
  for (const token of tokens) {
    const last = whole.at(-1);
    const goesOn = last && pendingWith(last, last[PENDING_BEFORE] ?? NO_BYTES).length && /^[89ab]/i.test(token.bytes ?? "");
    if (goesOn) whole[whole.length - 1] = { ...last, bytes: `${last.bytes}${token.bytes}` };
    else whole.push(token);
  }
  return whole.map(labelOf).join("").replace(/(?<=[^·↵⇥␍⟩])\u25cc(?=\p{M})/gu, "");
}

/**
 * A label in two parts: what is read, and the bytes in it that are no character of their own. "자" and "⟨+90⟩": with the byte 90 this
 * token completes the character. "·" and "⟨F0 9F⟩": a space, and the beginning of a character.
 * @param {Token} token
 * @returns {[string, string]}
 */
export function labelParts(token) {
  const bytes = bytesOf(token);
  if (!bytes) return [token.text === "" ? texts.translate("token.empty") : visible(token.text), ""];
  const completed = completedCharacter(token);
  if (!completed) return bytesLabel(bytes);
  const [text, hex] = completed.rest.length ? bytesLabel(completed.rest) : ["", ""];
  return [completed.text, `${hexDigits(completed.added, "+")}${text}${hex}`];
}

/**
 * The whole characters of a token as text, and the rest as hexadecimal digits.
 * @param {Uint8Array} bytes
 * @returns {[string, string]}
 */
function bytesLabel(bytes) {
  for (let whole = bytes.length; whole > 0; whole--) {
    try {
      const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes.slice(0, whole));
      return [visible(text), whole < bytes.length ? hexDigits(bytes.slice(whole)) : ""];
    } catch {
      // not a whole character yet: try one byte less
    }
  }
  return ["", hexDigits(bytes)];
}

/**
 * @param {Uint8Array} bytes
 * @param {string} [sign]
 * @returns {string}
 */
function hexDigits(bytes, sign = "") {
  return `⟨${sign}${Array.from(bytes, (byte) => byte.toString(16).toUpperCase().padStart(2, "0")).join(" ")}⟩`;
}

/**
 * @param {Token} token
 * @returns {string}
 */
export function idLabel(token) {
  return token.token_id < 0 ? texts.translate("token.no_id") : String(token.token_id);
}
