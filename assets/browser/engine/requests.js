// What a person asked for, checked: decoding/requests/run_request.py and tokenization_remarks.py, with their sentences. Knows the model's facts and its
// vocabulary, not how it decodes.

import { Refusal, message, sentence, withCommas } from "./sentences.js";
import { visible } from "./tokens.js";

/** @import { LimitName, Limits } from "../../panel/core/constants.js" */
/** @import { RunQuestion } from "../messages.js" */
/** @import { ModelFacts } from "../model_facts.js" */
/** @import { Vocabulary } from "./tokens.js" */

/** @typedef {Map<number, number>} Picks token ids by their steps */

/** @typedef {{ prompt: string, steps: number, choices: number, forced: Picks }} CheckedRequest */

const SHOWN = 120;
const LEAST_BEAMS = 2;

/**
 * @param {RunQuestion} question as a page, a link or the panel has it
 * @param {Limits} limits
 * @returns {CheckedRequest}
 */
export function checkRequest({ prompt, steps, choices, forced = [] }, limits) {
  checkText(prompt, "prompt", "prompt", limits);
  checkWhole(steps, "steps", limits.steps);
  checkWhole(choices, "choices", limits.choices);
  checkForced(forced, steps);
  return { prompt, steps, choices, forced: new Map(forced) };
}

/**
 * @param {unknown} text
 * @param {string} field
 * @param {"prompt" | "pasted"} name by which a sentence calls it
 * @param {Limits} limits
 * @returns {asserts text is string}
 */
export function checkText(text, field, name, limits) {
  const called = message(`server.request.word.${name}`);
  if (typeof text !== "string") throw new Refusal(field, "server.request.type", { name: called, type: message("server.type_of", { type: typeof text }) });
  const letters = Array.from(text);
  if (letters.length > limits.promptCharacters) {
    throw new Refusal(field, "server.request.long", { name: called, count: withCommas(letters.length), most: withCommas(limits.promptCharacters) });
  }
  const at = letters.findIndex((letter) => letter === "\0" || /^[\ud800-\udfff]$/.test(letter));
  if (at < 0) return;
  const what = message(letters[at] === "\0" ? "server.request.character.nul" : "server.request.character.half");
  const code = letters[at].charCodeAt(0).toString(16).toUpperCase().padStart(4, "0");
  throw new Refusal(field, "server.request.character", { position: withCommas(at + 1), name: called, what, code });
}

/**
 * A value that was sent, within a sentence.
 * @param {unknown} value
 */
function asShown(value) {
  if (typeof value === "string") return `“${visible(value.slice(0, 40))}”`;
  return Number.isSafeInteger(value) ? withCommas(Number(value)) : value;
}

/**
 * @param {unknown} value
 * @param {LimitName} field
 * @param {number} most
 * @param {number} [least]
 * @returns {asserts value is number}
 */
function checkWhole(value, field, most, least = 1) {
  if (typeof value === "number" && Number.isInteger(value) && value >= least && value <= most) return;
  const values = { field: message(`server.request.word.${field}`), least, most };
  if (value === null || value === "" || value === undefined) throw new Refusal(field, "server.request.empty", values);
  throw new Refusal(field, "server.request.number", { ...values, value: asShown(value) });
}

/**
 * @param {unknown} value
 * @param {Limits} limits
 * @returns {number}
 */
export function checkBeams(value, limits) {
  checkWhole(value, "beams", limits.beams, LEAST_BEAMS);
  return value;
}

/**
 * @param {unknown} forced
 * @param {number} steps
 * @returns {asserts forced is [number, number][]}
 */
function checkForced(forced, steps) {
  if (!Array.isArray(forced)) throw new Refusal("forced", "server.pick.list", { type: message("server.type_of", { type: typeof forced }) });
  let before = -1;
  for (const [n, pair] of forced.entries()) {
    const number = n + 1;
    const isPair = Array.isArray(pair) && pair.length === 2 && pair.every(Number.isInteger);
    if (!isPair) throw new Refusal("forced", "server.pick.pair", { number });
    const [step, id] = pair;
    if (step < 0 || step >= steps) throw new Refusal("forced", "server.pick.step", { number, step: step + 1, last: steps });
    if (id < 0) throw new Refusal("forced", "server.pick.negative", { number, id });
    if (step <= before) throw new Refusal("forced", "server.pick.order", { number, step: step + 1, before: before + 1 });
    before = step;
  }
}

/**
 * @param {CheckedRequest} request
 * @param {ModelFacts} facts
 */
export function checkIds({ forced }, facts) {
  for (const [step, id] of forced) {
    if (id < facts.vocabularySize) continue;
    throw new Refusal("forced", "server.pick.unknown", { id, step: step + 1, model: facts.model.id, last: facts.vocabularySize - 1 });
  }
}

/**
 * The prompt's ids; for an empty prompt, the model's beginning-of-text token.
 * @param {string} prompt
 * @param {Vocabulary} vocabulary
 * @param {ModelFacts} facts
 * @returns {number[]}
 */
export function promptIds(prompt, vocabulary, facts) {
  const ids = vocabulary.encode(prompt);
  if (ids.length === 0) {
    if (facts.beginningId === null) throw new Refusal("prompt", "server.prompt.empty", { model: facts.model.id });
    ids.push(facts.beginningId);
  }
  checkRows(ids, "prompt", vocabulary, facts);
  return ids;
}

/**
 * The same, where they leave room for the steps asked for.
 * @param {CheckedRequest} request
 * @param {Vocabulary} vocabulary
 * @param {ModelFacts} facts
 * @returns {number[]}
 */
export function startIds({ prompt, steps }, vocabulary, facts) {
  const ids = promptIds(prompt, vocabulary, facts);
  if (ids.length + steps <= facts.context) return ids;
  throw new Refusal("prompt", "server.prompt.long", {
    count: withCommas(ids.length), steps, model: facts.model.id, room: withCommas(Math.max(0, facts.context - steps)), context: withCommas(facts.context),
  });
}

/**
 * A pasted text's ids after those of the prompt.
 * @param {string} text
 * @param {number[]} start
 * @param {string} prompt
 * @param {Vocabulary} vocabulary
 * @param {ModelFacts} facts
 * @param {Limits} limits
 * @returns {number[]}
 */
export function continuationIds(text, start, prompt, vocabulary, facts, limits) {
  if (text === "") throw new Refusal("text", "server.text.empty");
  const ids = vocabulary.encodeContinuation(text, start, prompt);
  if (ids.length === 0) throw new Refusal("text", "server.text.no_tokens", { text: visible(text.slice(0, 40)) });
  const room = Math.min(limits.textTokens, facts.context - start.length);
  if (ids.length > room) {
    const isCapped = room === limits.textTokens;
    const why = isCapped ? message("server.text.long.read") : message("server.text.long.room", { count: withCommas(start.length), model: facts.model.id });
    throw new Refusal("text", "server.text.long", { count: withCommas(ids.length), most: withCommas(Math.max(0, room)), why });
  }
  checkRows(ids, "text", vocabulary, facts);
  return ids;
}

/**
 * @param {number[]} ids
 * @param {"prompt" | "text"} field
 * @param {Vocabulary} vocabulary
 * @param {ModelFacts} facts
 */
function checkRows(ids, field, vocabulary, facts) {
  const id = ids.find((each) => each >= facts.vocabularySize);
  if (id === undefined) return;
  const token = vocabulary.tokenizer.id_to_token(id) ?? "";
  throw new Refusal(field, `server.tokenizer.no_row.${field}`, { token: token.slice(0, 40), id, model: facts.model.id, last: facts.vocabularySize - 1 });
}

/**
 * Sentences about how a prompt's ids differ from the prompt.
 * @param {string} prompt
 * @param {number[]} ids
 * @param {Vocabulary} vocabulary
 * @param {ModelFacts} facts
 * @returns {string[]}
 */
export function promptRemarks(prompt, ids, vocabulary, facts) {
  if (prompt === "") return [];
  const plain = vocabulary.encode(prompt, { special: false });
  const [first, model] = [facts.beginningId, facts.model.id];
  const named = (/** @type {number} */ id) => ({ token: vocabulary.token(id).text, model });
  /** @type {string[]} */
  const remarks = [];
  const isTwice = first !== null && ids[0] === first && ids[1] === first && !(plain[0] === first && plain[1] === first);
  if (isTwice) remarks.push(sentence("server.tokenizer.begins_twice", named(first)));
  const last = ids[ids.length - 1];
  if (plain.length && last !== plain.at(-1)) remarks.push(sentence("server.tokenizer.behind", named(last)));
  return [...remarks, ...changeRemarks("prompt", prompt, vocabulary.textOf(plain), model)];
}

/**
 * @param {string} text
 * @param {number[]} ids
 * @param {Vocabulary} vocabulary
 * @param {ModelFacts} facts
 * @returns {string[]}
 */
export function textRemarks(text, ids, vocabulary, facts) {
  return changeRemarks("text", text, vocabulary.textOf(ids), facts.model.id);
}

/**
 * @param {"prompt" | "text"} field
 * @param {string} typed
 * @param {string} read
 * @param {string} model
 * @returns {string[]}
 */
function changeRemarks(field, typed, read, model) {
  if (typed === read) return [];
  const [a, b] = [Array.from(typed), Array.from(read)];
  const differs = a.findIndex((letter, n) => letter !== b[n]);
  const same = differs < 0 ? a.length : Math.min(differs, b.length);
  const start = Math.max(0, same - Math.floor(SHOWN / 3));
  const shown = b.slice(start, start + SHOWN).join("");
  const text = `${start ? "… " : ""}${shown}${start + SHOWN < b.length ? " …" : ""}`;
  return [sentence(`server.tokenizer.changes.${field}`, { model, typed: withCommas(a.length), read: withCommas(b.length), text })];
}
