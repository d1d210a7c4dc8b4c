// A file that the static site opens.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { load } from "./helpers.mjs";

const { convertHere } = await load("../browser/opened_file.js");
const { emptyRun, readLines } = await load("core/run.js");

const RECORDED = readFileSync(new URL("../recorded/starter.jsonl", `${process.env.PANEL}/`), "utf8");

const opened = async (text) => (await convertHere("jsonl", new TextEncoder().encode(text))).text();

test("a run comes back as it is", async () => {
  assert.equal(await opened(RECORDED), RECORDED);
});

test("a token whose bytes are null is one without bytes", async () => {
  const [header, first, ...rest] = RECORDED.split("\n");
  const step = JSON.parse(first);
  const withNull = (token) => ({ ...token, bytes: token.bytes ?? null });
  const line = JSON.stringify({ ...step, picked: withNull(step.picked), candidates: step.candidates.map(withNull) });
  const run = readLines(emptyRun(), await opened([header, line, ...rest].join("\n")));
  assert.deepEqual(run.steps[0], step);
});
