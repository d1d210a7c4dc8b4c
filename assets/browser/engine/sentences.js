// The library's messages and, for a record, its English sentences, made of the page's own texts: see assets/panel/core/server_messages.js
// and record_sentences.js.

let texts = {};

export function takeTexts(english) {
  texts = english;
}

export function say(key, values = {}) {
  return texts[key].replace(/\{(\w+)\}/g, (place, name) => String(values[name]?.text ?? values[name] ?? place));
}

// A message as decoding/messages.py writes it; a value may be a message too.
export function message(key, parameters = {}) {
  return { code: key.replace("server.", ""), parameters, text: say(key, parameters) };
}

export const withCommas = (count) => count.toLocaleString("en");

// A request that is refused: the message, and the field beside which it stands.
export class Refusal extends Error {
  constructor(field, key, values = {}) {
    super(say(key, values));
    this.said = message(key, values);
    this.field = field;
  }
}
