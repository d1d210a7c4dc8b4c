// What was asked about a run's steps: how it is kept with the run, and what is computed from it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { load, runOf } from "./helpers.mjs";

const { emptyRun, readLines } = await load("core/run.js");
const { answersWithRoom, forgetOldAnswers, linesWithoutWhy } = await load("core/answers_kept.js");
const { addWhy, jsonLines } = await load("core/run_lines.js");
const { labelOf } = await load("core/tokens.js");
const { changeOf, isFinished, leadsFrom, progressOf, strongestPart, tokensBefore } = await load("core/why.js");
const { linesUpTo, reasonForNone } = await load("core/why_request.js");
const { LIMITS } = await load("core/constants.js");

const run = () => runOf([" most", " popular"], { prompt_tokens: [{ token_id: 7, text: "a" }] });
const lensOn = (step, leaders) => ({ lens: { step, tokens: [{ token_id: 5, text: " most" }], layers: leaders.map((id) => ({ leader: { token_id: id }, logprobs: [-1], ranks: [0] })) } });
const wide = (step) => ({ lens: { step, tokens: [{ token_id: 5, text: "한".repeat(60_000) }], layers: [] } });
const answer = (asked, record) => {
  addWhy(asked, record);
  forgetOldAnswers(asked);
};
const part = (first, logprob, more = {}) => ({ first, count: 1, logprob, rank: 0, instead: {}, ...more });

test("an answer stands between the last step and the end, and a later one takes its place", () => {
  const asked = run();
  const before = jsonLines(asked).split("\n");
  addWhy(asked, lensOn(0, [1, 5]));
  addWhy(asked, { leave_one_out: { step: 0, picked: {}, parts: [] } });
  addWhy(asked, lensOn(0, [5]));
  const text = jsonLines(asked);
  const lines = text.split("\n");
  assert.deepEqual([...lines.slice(0, 3), ...lines.slice(5)], before);
  assert.deepEqual(lines.slice(3, 5).map((line) => Object.keys(JSON.parse(line))[0]), ["leave_one_out", "lens"]);
  const again = readLines(emptyRun(), text);
  assert.equal(jsonLines(again), text);
  assert.equal(again.why.get("lens 0").lens.layers.length, 1);
  for (let step = 1; step <= LIMITS.whyLines; step++) answer(again, lensOn(step, [5]));
  assert.equal(again.why.size, LIMITS.whyLines);
});

test("the longest run keeps both answers about each of its steps", () => {
  const asked = run();
  for (let step = 0; step < LIMITS.steps; step++) {
    answer(asked, lensOn(step, [5]));
    answer(asked, { leave_one_out: { step, picked: {}, parts: [] } });
  }
  assert.equal(asked.why.size, 2 * LIMITS.steps);
});

test("what is no longer kept is not taken for what was never asked", () => {
  const asked = run();
  assert.equal(reasonForNone(asked, 0, "lens"), "why.lens.none");
  for (let step = 0; step <= LIMITS.whyLines; step++) answer(asked, lensOn(step, [5]));
  assert.equal(reasonForNone(asked, 0, "lens"), "why.ask.forgotten");
  assert.equal(reasonForNone(asked, 0, "leave_one_out"), "why.without.nothing");
  addWhy(asked, lensOn(0, [5]));
  assert.ok(!asked.forgotten.has("lens 0"));
});

test("a run keeps as many answers as a file of it may hold, the newest", () => {
  const asked = run();
  for (let step = 0; step < LIMITS.whyLines; step++) answer(asked, wide(step));
  const bytes = Buffer.byteLength(jsonLines(asked));
  assert.ok(bytes <= LIMITS.bytes);
  assert.ok(bytes > LIMITS.bytes - 2 * 180_000); // no fewer than there is room for
  assert.equal(answersWithRoom(asked, LIMITS.bytes).bytes, bytes - Buffer.byteLength(linesWithoutWhy(asked)));
  assert.deepEqual([...asked.why.keys()].at(-1), `lens ${LIMITS.whyLines - 1}`);
});

test("a file's answers are counted once when it was opened and more is asked", () => {
  const asked = run();
  for (let step = 0; step < 30; step++) addWhy(asked, wide(step)); // 5.4 MB of 8
  const opened = readLines(emptyRun(), jsonLines(asked));
  answer(opened, lensOn(30, [5]));
  assert.equal(opened.why.size, 31);
  assert.equal(opened.forgotten.size, 0);
});

test("the newest answers have room first", () => {
  const asked = run();
  for (let step = 0; step < 4; step++) addWhy(asked, wide(step));
  const each = answersWithRoom(asked, LIMITS.bytes).bytes / 4;
  assert.deepEqual(answersWithRoom(asked, 2.5 * each), { kept: [wide(2), wide(3)], gone: ["lens 0", "lens 1"], bytes: 2 * each });
  assert.equal(answersWithRoom(asked, 4 * each).gone.length, 0);
  assert.equal(answersWithRoom(asked, each - 1).kept.length, 0);
});

test("what was written stays apart from what was asked since", () => {
  const asked = run();
  const { text } = asked;
  addWhy(asked, lensOn(0, [5]));
  assert.equal(asked.text, text);
  assert.equal(run().answers, 0);
  assert.equal(asked.answers, 1);
});

test("no text of an answer looks like a tag", () => {
  const asked = run();
  addWhy(asked, { lens: { step: 0, tokens: [{ token_id: 5, text: "</script>" }], layers: [] } });
  assert.ok(!jsonLines(asked).includes("</script>"));
});

test("the pick leads from a layer on where no other leads after it", () => {
  assert.equal(leadsFrom(lensOn(0, [5, 1, 5, 5]).lens), 2);
  assert.equal(leadsFrom(lensOn(0, [5, 5]).lens), 0);
  assert.equal(leadsFrom(lensOn(0, [5, 1]).lens), null);
});

test("a change is that of the log-probability, or of the lead over another candidate", () => {
  const picked = { probability: 0.5, logprob: Math.log(0.5) };
  const answer = { picked, parts: [part(0, Math.log(0.25)), part(1, null), part(2, Math.log(0.75))] };
  assert.deepEqual(answer.parts.map((each) => Math.round(100 * changeOf(answer, each))), [-69, -Infinity, 41]);
  assert.equal(strongestPart(answer).first, 1);
  const against = { ...answer, against: { logprob: Math.log(0.25) } };
  assert.ok(Math.abs(changeOf(against, part(0, -1, { against_logprob: -1 })) + Math.log(2)) < 1e-12);
  assert.equal(changeOf(against, part(0, null, { against_logprob: -1 })), -Infinity);
});

test("a model is sent the run up to the step alone", () => {
  const asked = run();
  assert.deepEqual(tokensBefore(asked, 1).map(({ text }) => text), ["a", " most"]);
  const sent = readLines(emptyRun(), linesUpTo(asked, asked.steps[0]));
  assert.equal(sent.steps.length, 1);
  assert.equal(sent.end.stop_reason, "stopped");
});

// An answer to the run's step 2, before which there are three tokens: a part is a token each, from `first` on.
const without = (parts, { first = 0, by = "tokens" } = {}) => ({ leave_one_out: { step: 2, by, picked: {}, parts: Array.from({ length: parts }, (_, n) => part(first + n, -1)) } });
const longer = () => runOf([" most", " popular", " toy"], { prompt_tokens: [{ token_id: 7, text: "a" }] });

test("how far an answer has come is told by the part that it ends with", () => {
  const asked = longer();
  assert.deepEqual(progressOf(asked, without(1, { first: 1 }).leave_one_out), { tried: 1, asked: 2 });
  assert.equal(isFinished(asked, without(1, { first: 1 }).leave_one_out), false);
  assert.equal(isFinished(asked, without(2, { first: 1 }).leave_one_out), true);
  assert.equal(isFinished(asked, without(0).leave_one_out), false);
});

test("a finished answer stays until another is finished", () => {
  const asked = longer();
  const kept = () => asked.why.get("leave_one_out 2").leave_one_out;
  const finished = without(2, { first: 1 });
  addWhy(asked, finished);
  const { answers } = asked;
  addWhy(asked, without(1));
  addWhy(asked, without(2));
  assert.equal(kept(), finished.leave_one_out);
  assert.equal(asked.answers, answers); // nothing new to store
  const larger = without(3);
  addWhy(asked, larger);
  assert.equal(kept(), larger.leave_one_out);
  addWhy(asked, without(1, { first: 2, by: "words" }));
  assert.equal(kept().by, "words");
});

test("an answer that was stopped stays until another has come as far", () => {
  const asked = longer();
  const parts = () => asked.why.get("leave_one_out 2").leave_one_out.parts.length;
  addWhy(asked, without(2));
  addWhy(asked, without(1));
  assert.equal(parts(), 2);
  addWhy(asked, without(2));
  addWhy(asked, without(3));
  assert.equal(parts(), 3);
});

test("a token that ends a character has one name in the run and in its answers", () => {
  const end = { text: "\ufffd", bytes: "8e89", id: 6 };
  const prompt_tokens = [{ token_id: 1, text: "a" }, { token_id: 2, text: "\ufffd", bytes: "f09f" }];
  const asked = runOf([end, "b"], { prompt_tokens });
  const name = labelOf(asked.steps[0].picked);
  assert.equal(name, "🎉⟨+8E 89⟩");
  const token = () => ({ token_id: 6, text: "\ufffd", bytes: "8e89" });
  const lens = { step: 0, tokens: [token()], layers: [{ leader: token(), logprobs: [-1], ranks: [0] }] };
  const parts = [part(0, -1, { instead: token() }), part(1, -1, { instead: token() })];
  const answer = { step: 0, by: "tokens", picked: token(), against: token(), parts };
  const again = readLines(emptyRun(), jsonLines(asked));
  for (const each of [asked, again]) {
    addWhy(each, JSON.parse(JSON.stringify({ lens })));
    addWhy(each, JSON.parse(JSON.stringify({ leave_one_out: answer })));
    const [{ lens: layers }, { leave_one_out: left }] = each.why.values();
    assert.deepEqual([layers.tokens[0], layers.layers[0].leader, left.picked, left.against].map(labelOf), Array(4).fill(name));
    assert.deepEqual(left.parts.map(({ instead }) => labelOf(instead)), [name, "⟨8E 89⟩"]); // without the part that begins it
  }
});
