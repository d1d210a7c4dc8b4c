import assert from "node:assert/strict";
import { test } from "node:test";
import { TEXTS, load } from "./helpers.mjs";

const { sentenceOf } = await load("core/server_messages.js");
const { LIMITS } = await load("core/constants.js");
const { texts } = await load("core/texts.js");

function inLanguage(language, said) {
  texts.chooseLanguage(language);
  const sentence = sentenceOf(said);
  texts.chooseLanguage("en");
  return sentence;
}

test("a message is a sentence of the reader's language, with the messages within it", () => {
  const said = { code: "request.type", parameters: { name: { code: "request.word.prompt" }, type: { code: "kind_of.number" } }, text: "old" };
  assert.equal(inLanguage("en", said), "The prompt has to be text, not a number.");
  const { "server.request.word.prompt": name, "server.kind_of.number": type } = TEXTS.ko;
  assert.equal(inLanguage("ko", said), TEXTS.ko["server.request.type"].replace("{name}", name).replace("{type}", type));
});

test("facts in a row, and a text without a code", () => {
  assert.equal(inLanguage("ko", [{ code: "facts.context", parameters: { count: "2,048" } }, "MIT"]), `${TEXTS.ko["server.facts.context"].replace("{count}", "2,048")} · MIT`);
  assert.equal(inLanguage("ko", "[b]as it came[/b]"), "[b]as it came[/b]");
  for (const nothing of ["", null, undefined]) assert.equal(sentenceOf(nothing), "");
});

test("a code that is not known is said in English, and no code leads out of the server's texts", () => {
  const text = "What a newer server says.";
  for (const code of ["of.another.version", "../page.run", "", "__proto__", "constructor", 7, null, ["a"], { a: 1 }]) assert.equal(inLanguage("ko", { code, text }), text);
  assert.equal(sentenceOf({ code: "of.another.version" }), "");
});

test("a stranger's parameters stay small", () => {
  const [most, large] = [LIMITS.noteCharacters + 1, "x".repeat(1_000_000)];
  const withName = (name) => ({ code: "request.type", parameters: { name, type: large } });
  const nested = Array.from({ length: 1_000 }).reduce(withName, large);
  const many = { code: "request.type", parameters: Object.fromEntries(Array.from({ length: 100_000 }, (_, n) => [`name${n}`, large])) };
  for (const said of [large, { code: "none", text: large }, withName(large), nested, many, Array(100_000).fill(large)]) assert.ok(sentenceOf(said).length <= most);
  for (const parameters of [null, "text", 7, [large], { __proto__: null, name: 7 }]) assert.match(sentenceOf({ code: "request.type", parameters }), /^The .* has to be text/);
});

test("a refused file is told in the reader's language, whatever stands between the page and its server", async () => {
  const { convertOnServer } = await load("app/server_conversion.js");
  const message = { code: "file.kind", parameters: {}, text: TEXTS.en["server.file.kind"] };
  const answers = [Response.json(message, { status: 422 }), new Response("Too much.", { status: 413 })];
  const asked = [];
  globalThis.document.baseURI = "http://page.test/";
  globalThis.fetch = async (_, { headers }) => { asked.push(headers.accept); return answers.shift(); };
  texts.chooseLanguage("ko");
  for (const why of [TEXTS.ko["server.file.kind"], "Too much."]) await assert.rejects(convertOnServer("csv", "x"), { message: why });
  texts.chooseLanguage("en");
  assert.deepEqual(asked, ["application/json", "application/json"]);
});
