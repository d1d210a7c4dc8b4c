import assert from "node:assert/strict";
import { test } from "node:test";
import { TEXTS, load } from "./helpers.mjs";

const { matchParts, recordPatterns, recordSentence } = await load("core/record_sentences.js");
const { LIMITS } = await load("core/constants.js");
const { texts } = await load("core/texts.js");

function korean(sentence) {
  texts.chooseLanguage("ko");
  const said = recordSentence(sentence);
  texts.chooseLanguage("en");
  return said;
}

test("a sentence is found again whatever is filled in", () => {
  const known = recordPatterns(TEXTS.en);
  assert.ok(known.length > 60);
  for (const { key, names, fixed } of known) {
    const filled = names.map((_, n) => `x${n}`);
    const sentence = fixed.flatMap((part, n) => [part, filled[n] ?? ""]).join("");
    const sign = fixed.slice(1, -1).includes("") ? "" : "|"; // places side by side are one
    assert.equal(matchParts(fixed, sentence)?.join(sign), filled.join(sign), key);
    if (fixed.join("").length > 2 && fixed.at(-1)) assert.equal(matchParts(fixed, `${sentence}!?!`), null, key);
  }
});

// A pattern of five wildcards took the sixth power of a sentence's length.
test("a stranger's sentence takes time that grows with its length", () => {
  const known = recordPatterns(TEXTS.en);
  const timed = (text) => {
    const begun = performance.now();
    for (const { fixed } of known) matchParts(fixed, text);
    return performance.now() - begun;
  };
  const units = [...new Set(known.flatMap(({ fixed }) => fixed))].filter(Boolean);
  const isSlow = (unit) => {
    const [once, tenfold] = [10_000, 100_000].map((length) => {
      const start = known.map(({ fixed }) => fixed[0]).find((first) => first.startsWith(unit)) ?? "";
      const text = `${start}${unit.repeat(length / unit.length + 1).slice(0, length)}\0`;
      return Math.min(timed(text), timed(text), timed(text));
    });
    return tenfold > Math.max(4, 40 * once);
  };
  assert.deepEqual(units.filter((unit) => isSlow(unit) && isSlow(unit)), []);
});

test("a sentence that no text fits stays as it came", () => {
  const sentence = `${TEXTS.en["server.memory.run"]} `.repeat(3_000);
  assert.equal(korean(sentence), sentence);
  assert.equal(korean("<b>nothing like it</b>"), "<b>nothing like it</b>");
});

test("a sentence within a sentence is translated, but not for ever", () => {
  const nested = `${"The model's server does not answer: ".repeat(20)}x${". What it has written stays. Try again in a minute, or tell the server's operator.".repeat(20)}`;
  assert.ok(nested.length < LIMITS.noteCharacters);
  assert.equal(korean(nested).split(TEXTS.ko["server.engine.silent"].split("{why}")[0]).length - 1, 5);
});

test("what only a message says, with its code, is no sentence of a record", () => {
  assert.equal(korean(TEXTS.en["server.text.empty"]), TEXTS.en["server.text.empty"]);
  assert.equal(korean(TEXTS.en["server.model.nan"]), TEXTS.ko["server.model.nan"]);
});
