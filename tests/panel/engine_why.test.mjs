// What the engine of a browser answers to the tab "Why?", over a network made by hand.

import assert from "node:assert/strict";
import { test } from "node:test";
import { load, runOf, TEXTS } from "./helpers.mjs";

const { partsOf, why } = await load("../browser/engine/why.js");
const { Refusal, setSentences } = await load("../browser/engine/sentences.js");
setSentences(TEXTS.en);

const LOGITS = Float32Array.of(0, 1, 3);
const RUN = runOf([{ text: "a", id: 2 }, { text: "b", id: 1 }], { prompt_tokens: [{ token_id: 0, text: "x" }] }).text;

// The logits after all ids, in each of two layers, and without a part.
function engineWith({ layers = [LOGITS, LOGITS], without = LOGITS } = {}) {
  const cache = { ids: [], tensors: {} };
  const network = { emptyCache: () => cache, cropped: () => cache, readAll: async () => ({ logits: without, cache }), readLayers: async () => layers };
  return { network, vocabulary: { token: (id) => ({ token_id: id, text: `t${id}` }) }, facts: { beginningId: null } };
}

async function answers(engine, { run = RUN, ...options } = {}) {
  const lines = [];
  for await (const line of why(engine, { run, step: 1, by: "tokens", ...options }, () => {})) lines.push(JSON.parse(line));
  return lines;
}

test("a lens, then an answer after each part that is left out", async () => {
  const [{ lens }, ...others] = await answers(engineWith());
  assert.deepEqual(lens.tokens.map(({ token_id: id }) => id), [1, 2]);
  assert.deepEqual(lens.layers.map(({ ranks }) => ranks), [[1, 0], [1, 0]]);
  assert.deepEqual(others.map(({ leave_one_out: { parts } }) => parts.length), [1, 2]);
  assert.deepEqual(others[1].leave_one_out.parts.map(({ first, count, rank }) => [first, count, rank]), [[0, 1, 1], [1, 1, 1]]);
});

test("logits that are no distribution are refused in the library's words, and the engine stays", async () => {
  const wrong = Float32Array.of(0, NaN, 3);
  for (const engine of [engineWith({ layers: [LOGITS, wrong] }), engineWith({ without: wrong })]) {
    await assert.rejects(answers(engine), (error) => error instanceof Refusal && error.reason.code === "model.nan");
  }
});

test("a word counts where it ends within the last tokens, and a text of one word is refused as that", async () => {
  const afterTokens = (...tokens) => runOf(["b"], { prompt_tokens: tokens.map((token, n) => ({ token_id: n % 3, ...token })) }).text;
  const runAfter = (...texts) => afterTokens(...texts.map((text) => ({ text })));
  const [, { leave_one_out: { parts } }, ...more] = await answers(engineWith(), { run: runAfter("a", " b", "c", "d"), step: 0, by: "words", last: 2 });
  assert.deepEqual([parts.map(({ first, count }) => [first, count]), more], [[[1, 3]], []]);
  const asked = answers(engineWith(), { run: runAfter("a", "b"), step: 0, by: "words" });
  await assert.rejects(asked, (error) => error instanceof Refusal && error.reason.code === "why_token.one_word");
  for (const by of ["tokens", "words"]) {
    const character = answers(engineWith(), { run: afterTokens({ text: "\ufffd", bytes: "ed95" }, { text: "\ufffd", bytes: "9c" }), step: 0, by });
    await assert.rejects(character, (error) => error instanceof Refusal && error.reason.code === "why_token.one_character");
  }
});

test("words are what belongs together in the text that the tokens make, as the library has them", () => {
  const words = (...texts) => partsOf(texts.map((text, n) => ({ token_id: n, ...(Array.isArray(text) ? { text: "\ufffd", bytes: text[0] } : { text }) })), "words").map(([, count]) => count);
  assert.deepEqual(words("The", " cap", "ital", ",", " don", "'t", "\n", "x"), [1, 2, 1, 2, 1, 1]);
  assert.deepEqual(words("日", "本", "語", " 한", "국"), [1, 1, 1, 2]);
  assert.deepEqual(words(["ed95"], ["9c"], "국", "의", ["20ec"], ["88"], ["98"], "도", "는", " ", ["f09f"], ["8e89"]), [4, 5, 1, 2]);
  assert.deepEqual(words("नमस", "्", "त", "े", " द"), [4, 1]);
  assert.deepEqual(words("เท", "ี", "่", "ยว"), [4]);
  assert.deepEqual(words("م", "\u064f", "ح"), [3]);
  assert.deepEqual(words(" ", "3", ".", "14", ".", " 1", ",", "000"), [1, 3, 1, 3]);
  assert.deepEqual(words("ㅋ", "ㅋㅋ", "か", "\u3099", "き"), [2, 2, 1]);
});

test("the lens follows the token that the pick is compared with", async () => {
  const run = RUN.replaceAll('"token_id":99', '"token_id":0');
  const [{ lens }] = await answers(engineWith(), { run, against: 0 });
  assert.deepEqual(lens.tokens.map(({ token_id: id }) => id), [1, 0, 2]);
});
