// What Python knows and hands over at the start: every language's texts, the limits (decoding/limits.py), the examples. They stay empty
// until an entry (app/page.js, standalone/page.js, browser/page.js) calls `provide`; nothing may read them while modules are loaded.

export const TEXTS = {}; // by language, then by key
export const LIMITS = {};
export const EXAMPLES = [];

export function provide({ texts, limits, examples }) {
  Object.assign(TEXTS, texts);
  Object.assign(LIMITS, limits);
  EXAMPLES.splice(0, EXAMPLES.length, ...examples);
}
