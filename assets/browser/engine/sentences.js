// The library's sentences in its English, made of the page's own texts, which translate them: see assets/panel/core/server_messages.js.

let texts = {};

export function takeTexts(english) {
  texts = english;
}

export function say(key, values = {}) {
  return texts[key].replace(/\{(\w+)\}/g, (place, name) => String(values[name] ?? place));
}

export const withCommas = (count) => count.toLocaleString("en");

// A request that is refused: the sentence, and the field beside which it stands.
export class Refusal extends Error {
  constructor(field, key, values = {}) {
    super(say(key, values));
    this.field = field;
  }
}
