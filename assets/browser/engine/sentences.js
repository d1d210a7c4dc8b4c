// The library's messages and, for a record, its English sentences, made of the page's own texts: see assets/panel/core/server_messages.js
// and record_sentences.js.

/** @import { Texts } from "../../panel/core/constants.js" */
/** @import { Message } from "../../panel/core/server_messages.js" */

/** @typedef {Record<string, unknown>} Parameters what stands in a sentence's places: texts, numbers, or messages with their own sentences */

/** @type {Texts} */
let sentences = {};

/** @param {Texts} english of the keys that begin with "server." */
export function setSentences(english) {
  sentences = english;
}

/**
 * @param {string} key
 * @param {Parameters} [parameters]
 * @returns {string}
 */
export function sentence(key, parameters = {}) {
  return sentences[key].replace(/\{(\w+)\}/g, (place, name) => String(textOf(parameters[name]) ?? place));
}

/** @param {unknown} parameter */
function textOf(parameter) {
  return parameter !== null && typeof parameter === "object" && "text" in parameter ? parameter.text : parameter;
}

/**
 * A message as decoding/messages.py writes it.
 * @param {string} key
 * @param {Parameters} [parameters]
 * @returns {Message}
 */
export function message(key, parameters = {}) {
  return { code: key.replace("server.", ""), parameters, text: sentence(key, parameters) };
}

/** @param {number} count */
export const withCommas = (count) => count.toLocaleString("en");

// A request that is refused, by a message that stands beside a field.
export class Refusal extends Error {
  /**
   * @param {string} field
   * @param {string} key
   * @param {Parameters} [parameters]
   */
  constructor(field, key, parameters = {}) {
    super(sentence(key, parameters));
    this.reason = message(key, parameters);
    this.field = field;
  }
}
