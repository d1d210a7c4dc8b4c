// What a person asked for, checked: decoding/requests/run_request.py and decoding/reading.py, with their sentences. Knows the model's facts and its
// vocabulary, not how it decodes.

import { Refusal, message, say, withCommas } from "./sentences.js";
import { visible } from "./tokens.js";

const SHOWN = 120;
const LEAST_BEAMS = 2;

// { prompt, steps, choices, forced } as a page, a link or a panel has them. `limits` are decoding/limits.py's.
export function checkRequest({ prompt, steps, choices, forced = [] }, limits) {
  checkText(prompt, "prompt", "prompt", limits);
  checkWhole(steps, "steps", limits.steps);
  checkWhole(choices, "choices", limits.choices);
  checkForced(forced, steps);
  return { prompt, steps, choices, forced: new Map(forced) };
}

export function checkText(text, field, name, limits) {
  const called = message(`server.request.word.${name}`);
  if (typeof text !== "string") throw new Refusal(field, "server.request.type", { name: called, type: message("server.kind_of.else") });
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

function checkWhole(value, field, most, least = 1) {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  const values = { field: message(`server.request.word.${field}`), least, most };
  if (value === null || value === "" || value === undefined) throw new Refusal(field, "server.request.empty", values);
  throw new Refusal(field, "server.request.number", { ...values, value: typeof value === "string" ? `“${visible(value.slice(0, 40))}”` : value });
}

export function checkBeams(value, limits) {
  checkWhole(value, "beams", limits.beams, LEAST_BEAMS);
  return value;
}

function checkForced(forced, steps) {
  if (!Array.isArray(forced)) throw new Refusal("forced", "server.pick.list", { type: message("server.kind_of.else") });
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

export function checkIds({ forced }, facts) {
  for (const [step, id] of forced) {
    if (id < facts.vocabularySize) continue;
    throw new Refusal("forced", "server.pick.unknown", { id, step: step + 1, model: facts.model.id, last: facts.vocabularySize - 1 });
  }
}

// The prompt's ids; for an empty prompt, the model's beginning-of-text token.
export function promptIds(prompt, vocabulary, facts) {
  const ids = vocabulary.encode(prompt);
  if (ids.length === 0 && facts.beginningId === null) throw new Refusal("prompt", "server.prompt.empty", { model: facts.model.id });
  const started = ids.length ? ids : [facts.beginningId];
  checkRows(started, "prompt", vocabulary, facts);
  return started;
}

// The same, where they leave room for the steps asked for.
export function startIds({ prompt, steps }, vocabulary, facts) {
  const ids = promptIds(prompt, vocabulary, facts);
  if (ids.length + steps <= facts.context) return ids;
  throw new Refusal("prompt", "server.prompt.long", {
    count: withCommas(ids.length), steps, model: facts.model.id, room: withCommas(Math.max(0, facts.context - steps)), context: withCommas(facts.context),
  });
}

// A pasted text's ids after those of the prompt.
export function continuationIds(text, start, prompt, vocabulary, facts, limits) {
  if (text === "") throw new Refusal("text", "server.text.empty");
  checkText(text, "text", "pasted", limits);
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

function checkRows(ids, field, vocabulary, facts) {
  const id = ids.find((each) => each >= facts.vocabularySize);
  if (id === undefined) return;
  const token = vocabulary.tokenizer.id_to_token(id) ?? "";
  throw new Refusal(field, `server.tokenizer.no_row.${field}`, { token: token.slice(0, 40), id, model: facts.model.id, last: facts.vocabularySize - 1 });
}

// What should be said of a prompt's ids, in sentences; nothing where they are the prompt and no more.
export function promptRemarks(prompt, ids, vocabulary, facts) {
  if (prompt === "") return [];
  const plain = vocabulary.encode(prompt, { special: false });
  const [first, model] = [facts.beginningId, facts.model.id];
  const named = (id) => ({ token: vocabulary.token(id).text, model });
  const remarks = [];
  const isTwice = first !== null && ids[0] === first && ids[1] === first && !(plain[0] === first && plain[1] === first);
  if (isTwice) remarks.push(say("server.tokenizer.begins_twice", named(first)));
  if (plain.length && ids.at(-1) !== plain.at(-1)) remarks.push(say("server.tokenizer.behind", named(ids.at(-1))));
  return [...remarks, ...changes("prompt", prompt, vocabulary.textOf(plain), model)];
}

export function textRemarks(text, ids, vocabulary, facts) {
  return changes("text", text, vocabulary.textOf(ids), facts.model.id);
}

function changes(field, typed, read, model) {
  if (typed === read) return [];
  const [a, b] = [Array.from(typed), Array.from(read)];
  const differs = a.findIndex((letter, n) => letter !== b[n]);
  const same = differs < 0 ? a.length : Math.min(differs, b.length);
  const start = Math.max(0, same - Math.floor(SHOWN / 3));
  const shown = b.slice(start, start + SHOWN).join("");
  const text = `${start ? "… " : ""}${shown}${start + SHOWN < b.length ? " …" : ""}`;
  return [say(`server.tokenizer.changes.${field}`, { model, typed: withCommas(a.length), read: withCommas(b.length), text })];
}
