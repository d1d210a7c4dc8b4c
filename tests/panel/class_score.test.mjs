// The score of a class that voted, and its table without persons.

import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./helpers.mjs";

const { meanScores, mostFrequent, textNumbers, votesCsv } = await load("core/class_score.js");

const OPTIONS = [["·only", 1, 0.25], ["·most", 0, 0.5], ["·best", 2, 0.125]];

// A result as the server counts it: `votes` by candidate, `others` by word.
function result(votes, others = [], number = 0) {
  const options = OPTIONS.map(([label, rank, probability], place) => ({ label, rank, probability, votes: votes[place] }));
  const other_votes = others.reduce((sum, [, count]) => sum + count, 0);
  const answers = votes.reduce((sum, count) => sum + count, 0) + other_votes;
  const ranks = options.reduce((sum, option) => sum + option.votes * (option.rank + 1), 0) + other_votes * 4;
  const bits = options.reduce((sum, option) => sum - option.votes * Math.log2(option.probability), 0) + other_votes * 3;
  const score = { answers, right: votes[1], ranks, bits, is_bound: other_votes > 0 };
  return { number, step: number + 1, options, picked: 1, beyond: 0.125, others, other_votes, score };
}

test("all answers, the most frequent ones and the model are scored over the same steps", () => {
  const scores = meanScores([result([1, 3, 0]), result([2, 0, 0], [["banana", 3]], 1), result([0, 0, 0], [], 2)]);
  assert.deepEqual(scores.answers, { count: 9, right: 3 / 9, rank: (2 + 3 + 4 + 12) / 9, bits: (2 + 3 + 4 + 9) / 9, isBound: true });
  assert.deepEqual(scores.choice, { count: 2, right: 0.5, rank: (1 + 4) / 2, bits: (1 + 3) / 2, isBound: true });
  assert.deepEqual(scores.model, { count: 2, right: 1, rank: 1, bits: 1, isBound: false });
  assert.equal(meanScores([result([0, 0, 0])]), null);
  assert.equal(meanScores([]), null);
});

test("the most frequent answer may be a typed one, or several in a tie", () => {
  const labels = (...given) => mostFrequent(result(...given)).map(({ label, option }) => [label, option === null]);
  assert.deepEqual(labels([0, 1, 0], [["toy", 2]]), [["toy", true]]);
  assert.deepEqual(labels([2, 1, 0]), [["·only", false]]);
  assert.deepEqual(labels([1, 1, 0], [["toy", 1]]), [["·only", false], ["·most", false], ["toy", true]]);
  assert.deepEqual(labels([0, 0, 0]), []);
});

test("a tie is worth the mean of its answers, in whatever order they are offered", () => {
  const { choice } = meanScores([result([1, 1, 0]), result([0, 3, 0], [], 1)]);
  assert.deepEqual(choice, { count: 2, right: 1.5 / 2, rank: (1.5 + 1) / 2, bits: (1.5 + 1) / 2, isBound: false });
  assert.equal(meanScores([result([1, 0, 0], [["toy", 1]])]).choice.rank, 3); // ranks 2 and 4
});

test("a table names no person, and no cell of it is a formula", () => {
  const words = [["=1+1", 1], ['say "hi", you', 2], [" @x", 1], ["one\nline", 1], ["-", 1]];
  const lines = votesCsv([result([1, 0, 0], words)]).split("\r\n");
  assert.equal(lines[0], "question,step,answer,candidate,votes,share of the class,rank,probability,picked by the model");
  assert.equal(lines[1], `1,1,·only,1,1,${1 / 7},2,0.25,0`);
  assert.deepEqual(lines.slice(4, 9).map((line) => line.split(",0,")[0]), ["1,1,'=1+1", '1,1,"say ""hi"", you"', "1,1,' @x", '1,1,"one\nline"', "1,1,'-"]);
});

test("words beyond those that the server listed are counted together", () => {
  const more = { ...result([0, 0, 0], [["a", 2]]), other_votes: 5 };
  assert.match(votesCsv([more]), /1,1,…,0,3,/);
});

test("a text begins where the steps begin anew", () => {
  const steps = (...numbers) => textNumbers(numbers.map((step) => ({ ...result([0, 1, 0]), step })));
  assert.deepEqual(steps(1, 2, 3), [1, 1, 1]);
  assert.deepEqual(steps(1, 2, 1, 1, 2), [1, 1, 2, 3, 3]);
  assert.deepEqual(steps(), []);
});
