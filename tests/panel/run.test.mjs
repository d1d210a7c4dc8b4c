import assert from "node:assert/strict";
import { test } from "node:test";
import { load, runOf } from "./helpers.mjs";

const { closestCalls, emptyRun, endEarly, readLines, repeatAt, requestUpTo, slotsOf, textBefore, totals } = await load("core/run.js");
const { firstDifference } = await load("core/alignment.js");
const { texts } = await load("core/texts.js");
const { jsonLines } = await load("core/run_lines.js");
const { drawLoopMarks } = await load("view/steps.js");
const { joinedLabel, labelOf, labelParts } = await load("core/tokens.js");
const { isolate, isRightToLeft, visible, oneLine, showDirectionMarks, lettersOf } = await load("core/visible.js");

test("a run that grows is parsed once, and another text is another run", () => {
  const lines = runOf([" most", " popular"]).text;
  const half = lines.indexOf("\n", lines.indexOf("\n") + 1) - 5; // within the first step's line
  const run = readLines(emptyRun(), lines.slice(0, half));
  assert.equal(run.steps.length, 0);
  assert.equal(readLines(run, lines), run);
  assert.deepEqual(run.pieces, [" most", " popular"]);
  assert.equal(run.end.stop_reason, "steps");
  const other = readLines(run, runOf(["x"], { prompt: "b" }).text);
  assert.notEqual(other, run);
  assert.equal(other.header.prompt, "b");
});

test("new lines go on from the line before them, and none is taken where one is missing", () => {
  const { text } = runOf(["a", "b", "c", "d"]);
  const from = (place) => text.split("\n").slice(place).join("\n"); // 0 is the header
  const upTo = (place) => `${text.split("\n").slice(0, place).join("\n")}\n`;
  const run = readLines(emptyRun(), upTo(1));
  assert.equal(readLines(run, upTo(3)), run);
  assert.deepEqual(run.pieces, ["a", "b"]);
  assert.equal(readLines(run, from(2).slice(0, -10)), run);
  assert.deepEqual([run.pieces, run.end], [["a", "b", "c", "d"], null]);
  assert.equal(readLines(run, from(3)), run);
  assert.deepEqual([run.text, run.end.stop_reason], [text, "steps"]);
  assert.equal(readLines(run, from(2)), run);
  assert.deepEqual(run.text, text, "what came before comes once");
  const broken = readLines(emptyRun(), upTo(2));
  for (const later of [from(3), from(4), from(5)]) assert.equal(readLines(broken, later), broken);
  assert.deepEqual([broken.text, broken.pieces, broken.end], [upTo(2), ["a"], null], "it has no end: the page says that it was lost");
});

test("a character that is split across tokens appears with the token that completes it", () => {
  const run = runOf([{ text: "�", bytes: "f09f" }, { text: "��", bytes: "9880" }, "!"]);
  assert.deepEqual(run.pieces, ["", "😀", "!"]);
  assert.equal(textBefore(run, 2), "a😀");
  assert.deepEqual(run.steps.map(({ picked }) => labelOf(picked)), ["⟨F0 9F⟩", "😀⟨+98 80⟩", "!"]);
  assert.deepEqual(labelParts(run.steps[1].picked), ["😀", "⟨+98 80⟩"]);
});

test("nothing in a label is invisible or turns what stands beside it", () => {
  assert.equal(visible(" a\n\t\u200b\u202e"), "·a↵⇥\\u200b\\u202e");
  assert.equal(visible("\u{e0001}"), "\\u{e0001}");
  assert.equal(visible("👩‍👩‍👧 ❤️‍🔥 a\u200db"), "👩‍👩‍👧·❤️‍🔥·a\\u200db");
  assert.deepEqual(["\u05b7a\u0301", "\ufe0f"].map(visible), ["\u25cc\u05b7a\u0301", "\u25cc\ufe0f"]);
  assert.equal(oneLine("👩‍👩‍👧 ❤️‍🔥\n👋🏽 a\u200db"), "👩‍👩‍👧 ❤️‍🔥↵👋🏽 a\\u200db");
  assert.equal(showDirectionMarks("a b\u202e"), "a b\\u202e");
  assert.deepEqual(lettersOf("e\u0301👩‍👩‍👧x"), ["e\u0301", "👩‍👩‍👧", "x"]);
});

test("a word that runs from right to left takes nothing of a sentence along, and its bytes run from left to right", () => {
  const { translate } = texts;
  assert.equal(translate("why.step", { step: 1, token: "ر", probability: "14.71 %" }), "Step 1: why \u2068ر\u2069 (14.71 %)?");
  assert.equal(isolate("ي⟨+90⟩"), "\u2068ي⟨\u200e+90⟩\u2069");
  assert.equal(isolate(`${isolate("س")} 25.25 %`), "\u2068س\u2069 25.25 %", "an isolate in a value stays, and is enough");
  assert.deepEqual(["most", "자⟨+90⟩", "\u2068ab", "ab\u2069"].map(isolate), ["most", "자⟨+90⟩", "\\u2068ab", "ab\\u2069"]);
  assert.deepEqual(["12 שלום a", "a שלום", "12"].map(isRightToLeft), [true, false, false]);
});

test("a combining mark stands on a dotted circle only where its letter is not before it", () => {
  const tokens = ["हि", "ं", " ", "ि"].map((text) => ({ token_id: 0, text }));
  assert.equal(joinedLabel(tokens), "हिं·\u25ccि");
});

test("a character whose bytes are all there is written as that in the label of several tokens", () => {
  const bytes = (...tokens) => tokens.map((each) => ({ token_id: 0, text: "\ufffd", bytes: each }));
  assert.equal(joinedLabel(bytes("ed95", "9c", "20ec", "88", "98")), "한·수");
  assert.equal(joinedLabel(bytes("ed95", "ed", "959c", "9c", "f09f")), "⟨ED 95⟩한⟨9C⟩⟨F0 9F⟩");
  assert.equal(joinedLabel([...bytes("ed95"), { token_id: 0, text: "a" }]), "⟨ED 95⟩a");
});

test("a run that the panel ended is whole JSON Lines", () => {
  const run = runOf([" most"], { stop: "" });
  assert.equal(slotsOf(run), 1);
  assert.deepEqual(JSON.parse(jsonLines(run).trimEnd().split("\n").at(-1)), { stop_reason: "stopped" });
  endEarly(run, "error", "Why.");
  assert.deepEqual(JSON.parse(jsonLines(run).trimEnd().split("\n").at(-1)), { stop_reason: "error", message: "Why." });
  assert.equal(runOf([" most"]).text, jsonLines(runOf([" most"])));
});

test("what comes of a run that was stopped is left out, and another run is not", () => {
  const whole = runOf([" most", " more"]).text;
  const run = readLines(emptyRun(), whole.split("\n").slice(0, 2).join("\n") + "\n");
  endEarly(run, "stopped", "");
  assert.equal(readLines(run, whole), run);
  assert.deepEqual([run.steps.length, run.end.stop_reason], [1, "stopped"]);
  assert.equal(readLines(run, runOf([" less"]).text).steps.length, 1);
});

test("totals are the sum over the picks", () => {
  const { logprob, perplexity } = totals(runOf([{ text: "a", p: 0.5 }, { text: "b", p: 0.125 }]));
  assert.ok(Math.abs(logprob - Math.log(1 / 16)) < 1e-12);
  assert.ok(Math.abs(perplexity - 4) < 1e-12);
  assert.equal(totals(runOf([{ text: "a", p: 0 }])).logprob, -Infinity);
  assert.ok(Number.isNaN(totals(runOf([])).perplexity));
});

test("a request holds the picks that were forced before a step", () => {
  const run = runOf(["a", "bb", "ccc"], { forced: [0, 2] });
  assert.deepEqual(requestUpTo(run, 2).forced, [[0, 1]]);
  assert.deepEqual(requestUpTo(run, 3), { model: "tiny", prompt: "a", steps: 3, choices: 2, forced: [[0, 1], [2, 3]] });
});

test("runs differ first where the token ids do", () => {
  assert.equal(firstDifference(runOf(["a", "bb"]), runOf(["a", "ccc"])), 1);
  assert.equal(firstDifference(runOf(["a", "bb"]), runOf(["a"])), 1);
  assert.equal(firstDifference(runOf(["a"]), runOf(["a"])), -1);
});

test("the closest calls come first, without picks of a person and tokens without ids", () => {
  const run = runOf([{ text: "a", p: 0.6 }, { text: "b", p: 0.2 }, { text: "c", p: 0.1 }], { forced: [2] });
  assert.deepEqual(closestCalls(run).map(({ index }) => index), [1, 0]);
  run.steps[1].candidates[1].token_id = -1;
  assert.deepEqual(closestCalls(run).map(({ index }) => index), [0]);
});

test("a step of a loop belongs to one of its repeats", () => {
  const run = runOf(["a", "b", "c", "b", "c", "d"]);
  run.end.loops = [{ start: 1, period: 2, repeats: 2 }];
  assert.deepEqual([0, 1, 2, 3, 4, 5].map((index) => repeatAt(run, index)), [null, 0, 0, 1, 1, null]);
});

test("loops are marked once their chips are there", () => {
  const looping = { steps: [{}, {}], end: { loops: [] } };
  const drawn = { text: 0, loops: false };
  assert.equal(drawLoopMarks({}, looping, drawn), false);
  assert.equal(drawn.loops, false);
});
