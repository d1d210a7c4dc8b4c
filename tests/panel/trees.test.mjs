import assert from "node:assert/strict";
import { test } from "node:test";
import { load, runOf } from "./helpers.mjs";

const { beamTree, goToPath, searchOf } = await load("core/beam_tree.js");
const { addEntry, emptyHistory, expectBranch } = await load("core/history.js");
const { addPromptScores, emptyRun, promptScoreOf, readLines } = await load("core/run.js");
const { jsonLines } = await load("core/run_lines.js");
const { runsOfTree, runTree } = await load("core/run_tree.js");

const beam = (parent, id, rank, total, more = {}) => ({ parent, token_id: id, text: "abcdefghij"[id], logprob: -1, rank, total, ...more });
// Two beams, three steps: greedy's " a" is dropped at step 3, and "c" has ended.
const LEVELS = [
  { beam_step: 0, beams: [beam(0, 0, 0, -1), beam(0, 1, 1, -1.5)] },
  { beam_step: 1, beams: [beam(1, 2, 0, -2, { ended: true }), beam(1, 3, 1, -2.2), beam(0, 4, 0, -2.5)] },
  { beam_step: 2, beams: [beam(1, 5, 0, -2.4), beam(1, 6, 1, -2.9)], finished: [[2, 0], [2, 1]] },
];
const TOKENS = [["b", 1], ["d", 3], ["f", 5]].map(([text, id]) => ({ text, id }));

function search() {
  const lines = runOf(TOKENS, { forced: [0, 1] }).text.trimEnd().split("\n");
  return readLines(emptyRun(), [...lines.slice(0, -1), ...LEVELS.map((level) => JSON.stringify(level)), lines.at(-1), ""].join("\n"));
}

const history = (...runs) => runs.reduce((made, run) => (addEntry(made, run), made), emptyHistory());

test("a beam is where its step and its place are, and says what became of it", () => {
  const { columns, rows, nodes } = beamTree(search(), () => {});
  assert.deepEqual([columns, rows], [3, 3]);
  assert.deepEqual(nodes.map(({ step, row, parent }) => [step, row, parent]), [
    [0, 0, -1], [0, 1, -1], [1, 0, 1], [1, 1, 1], [1, 2, 0], [2, 0, 3], [2, 1, 3],
  ]);
  assert.deepEqual(nodes.map(({ kinds }) => [...kinds].join()), [
    "greedy,lost", "winner", "ended,lost", "winner", "greedy,dropped,lost", "winner", "",
  ]);
  assert.deepEqual(nodes[6].ids, [1, 3, 6]);
  assert.match(nodes[4].title, /^Step 2, beam 3: .*Greedy decoding writes this\. Dropped at step 3\.$/);
});

test("the search on screen is shown, else the newest from its prompt", () => {
  const [found, greedy, other] = [search(), runOf(["a"]), runOf(["x"], { prompt: "b" })];
  assert.equal(searchOf(history(greedy)), null);
  assert.equal(searchOf(history(found, greedy)).run, found);
  assert.equal(searchOf(history(found, other)), null);
});

test("a click on a beam looks at a run that has it, or asks for one with the picks that argmax would not make", () => {
  const kept = history(search());
  const asked = [];
  const panel = { showStep: (entry, step) => asked.push([entry.number, step]), ask: (...question) => asked.push(question) };
  const at = (node) => beamTree(kept.entries[0].run, (path) => goToPath(panel, kept, kept.entries[0], path)).nodes[node].onClick();
  at(3);
  at(6);
  assert.deepEqual(asked[0], [1, 1]);
  const request = { model: "tiny", prompt: "a", steps: 3, choices: 2, forced: [[0, 1], [1, 3], [2, 6]] };
  assert.deepEqual(asked[1], ["branch", request, { step: 2, stepToShow: 2 }]);
});

test("runs share what they have in common, and runs of one text share a row", () => {
  const runs = [runOf(["a", "bb", "ccc"]), runOf(["a", "dddd", "ccc"], { forced: [1] }), runOf(["a", "bb", "ccc"]), runOf(["x"], { prompt: "b" })];
  const kept = history(...runs.slice(0, 1));
  expectBranch(kept, { step: 1, kind: "branch", placeToShow: null, stepToShow: null, fieldsFollow: true });
  for (const run of runs.slice(1, 3)) addEntry(kept, run);
  const { columns, rows, nodes, ends } = runTree(runsOfTree(kept), () => {});
  assert.deepEqual([columns, rows, nodes.length], [3, 2, 5]);
  assert.deepEqual(nodes.map(({ row, parent }) => [row, parent]), [[0, -1], [0, 0], [0, 1], [1, 0], [1, 3]]);
  assert.deepEqual([...nodes[3].kinds], ["forced"]);
  assert.deepEqual(nodes.map(({ entries }) => entries.size), [3, 2, 2, 1, 1]);
  assert.match(ends[0].text, /^Run 1 = Run 3 · −2\.08 ★$/);
  addEntry(kept, runs[3]);
  assert.equal(runsOfTree(kept).length, 1); // of another prompt
});

test("a prompt's scores stand before the last line, and belong to its last tokens", () => {
  const tokens = ["x", "y", "z"].map((text, id) => ({ token_id: id, text }));
  const run = runOf(["a"], { prompt: "xyz", prompt_tokens: tokens });
  const before = jsonLines(run);
  const line = JSON.stringify({ prompt_scores: [{ logprob: -1, rank: 1, entropy: 2 }, { logprob: -3, rank: 0, entropy: null }] });
  addPromptScores(run, line);
  assert.deepEqual([0, 1, 2].map((place) => promptScoreOf(run, place)?.logprob), [undefined, -1, -3]);
  const lines = before.trimEnd().split("\n");
  assert.equal(jsonLines(run), `${[...lines.slice(0, -1), line, lines.at(-1)].join("\n")}\n`);
  assert.deepEqual(readLines(emptyRun(), jsonLines(run)).promptScores, run.promptScores);
});
