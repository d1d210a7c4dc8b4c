// Ids to text for people, and a prompt to ids: decoding/record/tokens.py for tokenizers whose tokens look the same wherever they stand.
// What each token looks like was written by the library when the site was made. Knows no model and no run.

import { BPE, Tokenizer } from "./lib/tokenizers.min.js";

/** @import { Token } from "../../panel/core/tokens.js" */

/** @typedef {(string | [string, string])[]} TokenTable of each id its text, or its text and its bytes as hexadecimal digits */

/** @type {Record<string, string>} */
const SIGNS = { " ": "·", "\n": "↵", "\t": "⇥", "\r": "␍" };

export class Vocabulary {
  /**
   * @param {object} tokenizer the content of tokenizer.json
   * @param {TokenTable} table
   * @param {number[]} firstIds in front of every prompt
   */
  constructor(tokenizer, table, firstIds) {
    this.tokenizer = new Tokenizer(tokenizer, {});
    this.table = table;
    this.firstIds = firstIds;
    leaveOutUnknown(this.tokenizer.model);
  }

  /**
   * @param {string} text
   * @param {{ special?: boolean }} [options] with what the tokenizer adds to a prompt, or without
   * @returns {number[]}
   */
  encode(text, { special = true } = {}) {
    const { ids } = this.tokenizer.encode(text, { add_special_tokens: special });
    return special ? [...this.firstIds, ...ids] : ids;
  }

  /**
   * Ids of a text that goes on from another, whose ids are `before`: such as read as the text itself right there.
   * @param {string} text
   * @param {number[]} [before]
   * @param {string} [prompt]
   * @returns {number[]}
   */
  encodeContinuation(text, before = [], prompt = "") {
    const alone = this.encode(text, { special: false });
    if (this.textOf(alone) === text) return alone;
    const whole = this.encode(prompt + text);
    const rest = before.length > 0 && before.every((id, n) => whole[n] === id) ? whole.slice(before.length) : [];
    return this.textOf(rest) === text ? rest : alone;
  }

  /**
   * @param {number} id
   * @returns {Token}
   */
  token(id) {
    const entry = this.table[id] ?? "";
    return typeof entry === "string" ? { token_id: id, text: entry } : { token_id: id, text: entry[0], bytes: entry[1] };
  }

  /**
   * The text of consecutive tokens, with characters that were split across them put together again.
   * @param {number[]} ids
   * @returns {string}
   */
  textOf(ids) {
    const encoder = new TextEncoder();
    const parts = ids.map((id) => {
      const { text, bytes } = this.token(id);
      return bytes === undefined ? encoder.encode(text) : Uint8Array.from(bytes.match(/../g) ?? [], (digits) => parseInt(digits, 16));
    });
    const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
    let at = 0;
    for (const part of parts) {
      whole.set(part, at);
      at += part.length;
    }
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(whole);
  }
}

/**
 * A byte that the vocabulary lacks is left out before its neighbours are merged, as in the library's own tokenizer; the JavaScript one
 * would leave it out afterwards, and its neighbours apart.
 * @param {Tokenizer["model"]} model
 */
function leaveOutUnknown(model) {
  if (!(model instanceof BPE) || model.unk_token != null) return;
  const bpe = model.bpe.bind(model);
  model.bpe = (word) => bpe(Array.from(word).filter((letter) => model.tokens_to_ids.has(letter)).join(""));
}

/**
 * A text in a sentence, in which nothing is invisible.
 * @param {string} text
 * @returns {string}
 */
export function visible(text) {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}\p{Zs}]/gu, (letter) => {
    const digits = Number(letter.codePointAt(0)).toString(16);
    return SIGNS[letter] ?? (digits.length > 4 ? `\\u{${digits}}` : `\\u${digits.padStart(4, "0")}`);
  });
}
