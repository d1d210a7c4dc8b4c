import assert from "node:assert/strict";
import { test } from "node:test";
import { load, runOf } from "./helpers.mjs";

const { alignRuns, differingPosition, differingStep, stepHolding } = await load("core/alignment.js");
const { addEntry, emptyHistory } = await load("core/history.js");
const { verdictOn } = await load("core/verdict.js");

const left = runOf([" most", " popular", " toy", " 👩"]);
const right = runOf([" most", " pop", "ular", " toy", " 👨"], { model: { id: "other" } });

test("two models' steps are aligned by their position in the text", () => {
  assert.deepEqual(alignRuns(left, right).map(({ steps }) => steps), [[[0], [0]], [[1], [1, 2]], [[2], [3]], [[3], [4]]]);
  assert.equal(differingPosition(left, right), 18); // a whole character: the two emoji share their first half
  assert.equal(differingStep(left, right), 4);
  assert.deepEqual([0, 5, 8, 17, 99].map((place) => stepHolding(right, place)), [0, 1, 1, 4, 4]);
});

test("texts of which one goes on differ nowhere", () => {
  const short = runOf([" most"], { model: { id: "other" } });
  assert.equal(differingPosition(left, short), -1);
  assert.deepEqual(alignRuns(left, short).map(({ steps }) => steps), [[[0], [0]], [[1], []], [[2], []], [[3], []]]);
  assert.equal(differingStep(left, runOf([" most", " other"])), 1);
});

function verdict(...runs) {
  const history = emptyHistory();
  return verdictOn(history, ...runs.map((run) => addEntry(history, run)));
}

const PROMPTS = "Different prompts: their probabilities cannot be compared.";
const VERSIONS = "Different versions of a model: their probabilities cannot be compared.";
const run = (steps = 3, options = {}) => runOf(["a", "bb", "ccc"].slice(0, steps), options);
const CASES = {
  "other prompts": [run(3, { prompt: "b" }), PROMPTS],
  "other prompts and lengths": [run(2, { prompt: "b" }), PROMPTS],
  "other prompt tokens": [run(3, { prompt_tokens: [{ token_id: 1, text: "a" }] }), PROMPTS],
  "other prompts and models": [run(3, { prompt: "b", model: { id: "another" } }), "Different models and different prompts: nothing about the two runs can be compared."],
  "other numbers": [run(3, { model: { dtype: "bfloat16" } }), VERSIONS],
  "another revision": [run(3, { model: { revision: "older" } }), VERSIONS],
  "no step": [run(0), "Run 2 has no token yet, so there is nothing to compare."],
  "a run that grows": [run(3, { stop: "" }), "Run 2 is still being written."],
  "a token of probability 0": [runOf(["a", { text: "bb", p: 0 }, "ccc"]), "Run 2 has a token whose probability is 0 or unknown"],
  "other lengths": [run(2), "Totals of different lengths cannot be compared; per token it is"],
  "the same tokens": [run(), "A tie: both runs have the same tokens."],
};
for (const [name, [other, sentence]] of Object.entries(CASES)) {
  test(`no verdict on what does not compare: ${name}`, () => {
    const said = verdict(run(), other);
    assert.ok(said.includes(sentence), said);
    assert.doesNotMatch(said, /wins|times as probable/);
  });
}

test("of two texts of one length, the more probable one wins", () => {
  const said = verdict(run(), runOf(["a", { text: "xx", p: 0.25, id: 50 }, "ccc"]));
  assert.match(said, /^Run 1 wins.* 2 times/);
});
