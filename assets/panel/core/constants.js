// What Python knows and hands over at the start: every language's texts, the limits (decoding/limits.py), the examples. They stay empty
// until an entry (app/page.js, standalone/page.js, browser/site_page.js) calls `provide`; nothing may read them while modules are loaded.

/**
 * @typedef {"bytes" | "steps" | "choices" | "beams" | "textTokens" | "promptCharacters" | "promptTokens" | "stepCharacters" | "tokenCharacters" |
 *   "noteCharacters" | "remarks" | "vocabulary" | "logSums" | "linkCharacters" | "linkBytes" | "usuallyLeftOut" | "leftOut" | "lensTokens" |
 *   "layers" | "whyLines" | "lines" | "leastTemperature" | "mostTemperature" | "seed" | "voteText" | "voteAnswer" | "voteSeconds"} LimitName
 */

/** @typedef {Record<LimitName, number>} Limits */

/** @typedef {Record<string, string>} Texts by key */

/** @typedef {{ name: string, prompt: string, steps: number }} Example */

/** @type {Record<string, Texts>} by language */
export const TEXTS = {};
export const LIMITS = /** @type {Limits} */ ({});
/** @type {Example[]} */
export const EXAMPLES = [];
/** @type {string[]} how the keys of the texts begin that a record can hold, see core/record_sentences.js */
export const RECORD_TEXTS = [];

/** @param {{ texts: typeof TEXTS, limits: typeof LIMITS, examples: Example[], recordTexts?: string[] }} given */
export function provide({ texts, limits, examples, recordTexts = [] }) {
  Object.assign(TEXTS, texts);
  Object.assign(LIMITS, limits);
  EXAMPLES.splice(0, EXAMPLES.length, ...examples);
  RECORD_TEXTS.splice(0, RECORD_TEXTS.length, ...recordTexts);
}
