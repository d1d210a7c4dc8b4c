import assert from "node:assert/strict";
import { deflateRawSync } from "node:zlib";
import { test } from "node:test";
import { load, runOf } from "./helpers.mjs";

const { fieldsOf, linkTo, requestIn, requestOf } = await load("core/permalink.js");
const { LIMITS } = await load("core/constants.js");
const { refusalOf } = await load("core/too_large.js");

const REQUEST = { model: "tiny", prompt: "Ünïcode 한국어 😀", steps: 8, choices: 5, forced: [[1, 7]] };

test("a link is read as it was written", async () => {
  const { model, prompt, steps, choices, forced } = REQUEST;
  assert.deepEqual(await fieldsOf(await linkTo(REQUEST, 3, "")), [model, prompt, steps, choices, forced, 3]);
  assert.deepEqual((await fieldsOf(await linkTo(REQUEST, -1, "ko"))).slice(5), [0, "ko"]);
  assert.match(await linkTo(REQUEST, 3, ""), /^1[\w-]+$/);
});

test("what no address can name has no link", async () => {
  const wrong = [{ prompt: undefined }, { steps: 0 }, { steps: LIMITS.steps + 1 }, { choices: 0.5 }, { choices: "" }, { model: 3 }];
  for (const fields of wrong) assert.equal(await linkTo({ ...REQUEST, ...fields }, 0, ""), null);
  const noise = Array.from({ length: 40_000 }, (_, n) => String.fromCharCode(0x4e00 + ((n * n * 7919) % 20_000))).join("");
  assert.equal(await linkTo({ ...REQUEST, prompt: noise }, 0, ""), null);
});

test("a few letters do not unpack to gigabytes", async () => {
  const bomb = `1${deflateRawSync(Buffer.alloc(20 * LIMITS.linkBytes, " ")).toString("base64url")}`;
  assert.ok(bomb.length <= LIMITS.linkCharacters);
  await assert.rejects(fieldsOf(bomb), RangeError);
  assert.deepEqual(await fieldsOf("x".repeat(LIMITS.linkCharacters + 1)), []);
});

test("the request of a link, and none of what holds no request", async () => {
  const linkOf = (value) => `1${deflateRawSync(JSON.stringify(value)).toString("base64url")}`;
  const sampling = { temperature: 2, seed: 1 };
  assert.deepEqual(await requestIn(await linkTo(REQUEST, 3, "ko")), REQUEST);
  assert.deepEqual(await requestIn(await linkTo({ ...REQUEST, sampling }, 3, "")), { ...REQUEST, sampling });
  for (const value of [null, 7, "run", {}]) assert.deepEqual(await fieldsOf(linkOf(value)), []);
  const fields = ["tiny", "a", 8, 5, [[1, 7]], 0, "", {}];
  assert.notEqual(await requestIn(linkOf(fields)), null);
  const wrong = { 0: 3, 1: 5, 2: "8", 3: 0.5, 4: [[1]], 5: null, 7: null };
  for (const [place, value] of Object.entries(wrong)) assert.equal(await requestIn(linkOf(fields.with(Number(place), value))), null, place);
  assert.equal(await requestIn("1!"), null);
});

test("a recorded run, and one without token ids, ask for nothing", () => {
  assert.equal(requestOf(runOf(["a"], { note: "Recorded." })).prompt, undefined);
  assert.equal(requestOf(runOf([{ text: "a", id: -1 }])).prompt, undefined);
  assert.equal(requestOf(runOf(["a"])).prompt, "a");
});

test("a run is refused at its first part that is too large", () => {
  assert.equal(refusalOf(runOf(["a"]).text), "");
  assert.match(refusalOf(runOf(["a"], { prompt: "x".repeat(LIMITS.promptCharacters + 1) }).text), /^Line 1 .*prompt/);
  assert.equal(refusalOf(runOf(["a"], { prompt: "😀".repeat(LIMITS.promptCharacters) }).text), ""); // characters, not UTF-16 units
  assert.match(refusalOf(runOf([{ text: "x".repeat(LIMITS.tokenCharacters + 1) }]).text), /^Line 2 .*text/);
});
