import assert from "node:assert/strict";
import { test } from "node:test";
import { load, runOf } from "./helpers.mjs";

const { number, numberFromLog, percent } = await load("core/numbers.js");
const { logSum, logitOf, optionsOf } = await load("core/log_sums.js");
const { atTemperature, temperatureLabel, temperaturesOf } = await load("core/temperature.js");
const { matchingOption, mostBeyondCandidates, scoreOf, shuffledOptions } = await load("core/guesses.js");
const { texts } = await load("core/texts.js");
const { rowsOf } = await load("core/bar_rows.js");

test("a percentage has two decimals, and more where two would be zero", () => {
  const written = [0, 1, 0.5, 0.0001, 0.00001234, 1e-9].map(percent);
  assert.deepEqual(written, ["0.00 %", "100.00 %", "50.00 %", "0.01 %", "0.0012 %", "1.0e-7 %"]);
});

test("a number has a minus sign, and what is none says so", () => {
  assert.equal(number(-1.5, 2), "−1.50");
  assert.equal(number(null, 2), number(Infinity, 2));
  assert.ok(!/\d/.test(number(NaN, 2)));
});

test("a number is written from its logarithm, however large or small", () => {
  assert.equal(numberFromLog(0), "1.000");
  assert.equal(numberFromLog(Math.log(1234)), "1234");
  assert.equal(numberFromLog(Math.log(3.307e7)), "3.307 × 10⁷");
  assert.equal(numberFromLog(-1000), "5.076 × 10⁻⁴³⁵");
  assert.equal(numberFromLog(Math.log(9.9999e7)), "1.000 × 10⁸");
  assert.equal(numberFromLog(-Infinity), "0");
});

// Three tokens with logits 2, 1 and 0 are the whole vocabulary.
function stepOf(powers = [0.5, 1, 2]) {
  const logits = [2, 1, 0];
  const sum = (power) => Math.log(logits.reduce((total, logit) => total + Math.exp(logit * power), 0));
  const candidates = logits.slice(0, 2).map((logit, rank) => ({ token_id: rank, text: " ab"[rank], probability: Math.exp(logit - sum(1)), logprob: logit - sum(1), rank }));
  const rest = Math.exp(-sum(1));
  return { index: 0, picked: candidates[0], forced: false, candidates, rest, entropy: 1, margin: 0, log_sums: powers.map((power) => [power, sum(power)]) };
}

test("logits come back from probabilities and the log sum", () => {
  const step = stepOf();
  assert.ok(Math.abs(logitOf(step, step.candidates[1]) - 1) < 1e-12);
  assert.equal(logSum(step, 3), undefined);
  assert.equal(logitOf(step, { ...step.candidates[0], logprob: null }), -Infinity);
});

test("another temperature is exact, everything else included", () => {
  const step = stepOf();
  assert.equal(atTemperature(step, 1), step);
  const cold = atTemperature(step, 2);
  const total = Math.exp(4) + Math.exp(2) + 1;
  assert.ok(Math.abs(cold.candidates[0].probability - Math.exp(4) / total) < 1e-12);
  assert.ok(Math.abs(cold.rest - 1 / total) < 1e-12);
  assert.equal(atTemperature(step, 2), cold);
  assert.deepEqual(temperaturesOf(step), [2, 1, 0.5]);
  assert.deepEqual([0.25, 2 / 3, 1, 1.5, 4].map(temperatureLabel), ["4", "1.5", "1", "2/3", "0.25"]);
});

test("a pick from beyond the candidates has a row of its own, and is no longer among the others", () => {
  const step = stepOf();
  const picked = { token_id: 7, text: "z", probability: 0.01, logprob: Math.log(0.01), rank: 40 };
  const rows = rowsOf({ ...step, picked, forced: true });
  assert.deepEqual(rows.map(({ kind }) => kind), ["argmax", "other", "forced", "rest"]);
  assert.ok(Math.abs(rows[3].probability - (step.rest - 0.01)) < 1e-12);
  assert.deepEqual(rowsOf(step).map(({ label }) => label), ["▸ ·", "a", texts.translate("bars.rest")]);
  assert.equal(optionsOf({ ...step, picked }).length, 3);
});

test("what is typed is a candidate as it is, without its space, or in other capitals", () => {
  const options = [" The", "the", " cat", "dog"].map((text, rank) => ({ text, rank }));
  assert.equal(matchingOption(options, "the").rank, 1);
  assert.equal(matchingOption(options, "The").rank, 0);
  assert.equal(matchingOption(options, "CAT").rank, 2);
  assert.equal(matchingOption(options, "cow"), null);
  assert.equal(matchingOption([{ text: "cow", bytes: "ff", rank: 0 }], "cow"), null);
});

test("the order of what is offered says nothing and stays", () => {
  const run = runOf(Array.from({ length: 40 }, (_, n) => `t${n}`));
  const orders = run.steps.map((step) => shuffledOptions(step).map(({ rank }) => rank).join());
  assert.deepEqual(orders, run.steps.map((step) => shuffledOptions(step).map(({ rank }) => rank).join()));
  const first = orders.filter((order) => order === "0,1").length;
  assert.ok(first > 5 && first < 35, `${first} of 40`);
});

test("a score with a bound in it is a bound", () => {
  assert.deepEqual(scoreOf([{ rank: 0, probability: 0.5 }, { rank: 2, probability: 0.125 }], 2), ["2.00", "50 %", "2.00"]);
  assert.deepEqual(scoreOf([{ rank: 5, probability: 0.25, isBound: true }], 8), ["≥ 6.00", "0 %", "≥ 2.00"]);
});

test("a token that the run did not keep has what is left at most, and no more than the last candidate", () => {
  const [step] = runOf([{ text: " most", p: 0.5 }]).steps; // its candidates: 0.5 and 0.25
  assert.equal(mostBeyondCandidates(step), 0.25);
  assert.equal(mostBeyondCandidates({ ...step, picked: { ...step.picked, rank: 7, probability: 0.125 } }), 0.125);
});

test("a count of thousands has a comma, as the server writes it", () => {
  assert.ok(texts.translate("text.tokens", { count: 5001 }).includes("5,001"));
  assert.ok(texts.translate("text.tokens", { count: 501 }).includes("501"));
});
