import assert from "node:assert/strict";
import { test } from "node:test";
import { load, runOf } from "./helpers.mjs";

const { addEntry, clearStepToShow, emptyHistory, expectBranch, forgetQuestion, openEntry, redo, removeEntry, showEntry, undo } = await load("core/history.js");
const { restoreEntries } = await load("core/stored_history.js");
const { describeEntry, nameOf } = await load("core/entry_names.js");
const { emptyState, update } = await load("core/state.js");

const run = (text = "a", options = {}) => runOf([text], options);

test("a run that was asked for from another is its branch, once", () => {
  const history = emptyHistory();
  const first = addEntry(history, run());
  expectBranch(history, { step: 0, kind: "branch", placeToShow: null, stepToShow: 3, fieldsFollow: true });
  const branch = addEntry(history, run("b"));
  assert.deepEqual([branch.parent, branch.leftAt, branch.stepToShow, branch.number], [first, 0, 3, 2]);
  assert.equal(history.shown, branch);
  assert.equal(history.streaming, branch);
  clearStepToShow(history);
  assert.equal(branch.stepToShow, null);
  assert.equal(addEntry(history, run("c")).parent, null);
  expectBranch(history, { step: 0, kind: "branch", placeToShow: null, stepToShow: null, fieldsFollow: true });
  forgetQuestion(history);
  assert.equal(addEntry(history, run("d")).parent, null);
});

test("every change can be undone and redone, but the first run stays", () => {
  const history = emptyHistory();
  const [first, second] = [addEntry(history, run()), addEntry(history, run("b"))];
  undo(history);
  assert.deepEqual([history.entries, history.shown], [[first], first]);
  undo(history);
  assert.deepEqual(history.entries, [first]);
  redo(history);
  assert.deepEqual([history.entries, history.shown], [[first, second], second]);
  removeEntry(history, first);
  assert.deepEqual([history.entries, history.shown], [[second], second]);
  removeEntry(history, second);
  assert.deepEqual(history.entries, [second]);
  undo(history);
  assert.deepEqual(history.entries, [first, second]);
  addEntry(history, run("c"));
  assert.deepEqual(history.redo, []);
});

test("where the run on screen goes, the one that it left comes", () => {
  const history = emptyHistory();
  const first = addEntry(history, run());
  addEntry(history, run("b"));
  showEntry(history, first);
  expectBranch(history, { step: 0, kind: "branch", placeToShow: null, stepToShow: null, fieldsFollow: true });
  const branch = addEntry(history, run("c"));
  removeEntry(history, branch);
  assert.equal(history.shown, first);
});

test("an opened file leaves alone what streams in", () => {
  const history = emptyHistory();
  const first = addEntry(history, run("a", { stop: "" }));
  const opened = openEntry(history, run("b"), "kept.jsonl");
  assert.deepEqual([history.shown, history.streaming], [opened, first]);
  assert.match(describeEntry(history, opened), /kept\.jsonl/);
});

test("an entry says where it comes from", () => {
  const history = emptyHistory();
  const first = addEntry(history, run());
  const [branch, stopped] = [0, 4].map((step) => {
    expectBranch(history, { step, kind: "branch", placeToShow: null, stepToShow: null, fieldsFollow: true });
    return addEntry(history, run(`b${step}`));
  });
  assert.deepEqual([nameOf(first), describeEntry(history, first), describeEntry(history, branch)], ["Run 1", "greedy", "left Run 1 at step 1"]);
  assert.equal(describeEntry(history, stopped), "greedy", "it was stopped before the step at which it would have left");
  assert.doesNotMatch(describeEntry(history, first), /tiny/);
  addEntry(history, run("c", { model: { id: "other" } }));
  assert.match(describeEntry(history, first), /tiny$/);
});

test("stored runs come back under their numbers, with the page's own run among them", () => {
  const [history, own] = [emptyHistory(), run()];
  const stored = [{ number: 4, parent: null, leftAt: null, kind: "run", run: run() }, { number: 7, parent: 4, leftAt: 0, kind: "branch", run: run("b") }];
  restoreEntries(history, stored, own);
  assert.deepEqual(history.entries.map(({ number }) => number), [4, 7]);
  assert.equal(history.entries[1].parent, history.entries[0]);
  assert.equal(history.shown, history.entries[0]);
  assert.equal(addEntry(history, run("c")).number, 8);
  const empty = emptyHistory();
  restoreEntries(empty, [], own);
  assert.equal(empty.shown, null);
});

test("the state changes by update", () => {
  const state = emptyState(["tiny"]);
  update(state, { chosen: 2, isSilent: true });
  assert.deepEqual([state.chosen, state.isSilent, state.followsLast, state.models], [2, true, true, ["tiny"]]);
});
