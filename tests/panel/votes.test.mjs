// What a phone and the teacher's page make of the server's answers, and of none.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { load } from "./helpers.mjs";

const { connect } = await load("../vote/connection.js");
const { askUntilAnswered } = await load("app/vote_server.js");

// The server's answers, by the last part of the path. What it does not answer stays open, as news that do not come.
function serve(answers) {
  const listeners = {};
  globalThis.window = { addEventListener: (name, listener) => { listeners[name] = listener; } };
  globalThis.fetch = async (path) => ({ json: () => answers[path.split("/").at(-1)]?.shift() ?? new Promise(() => {}) });
  return { wake: () => listeners.online() };
}

test("an answer that came too fast is sent again, and a refusal is never taken for a state", async (t) => {
  const { fetch, window } = globalThis;
  t.after(() => Object.assign(globalThis, { fetch, window }));
  const [joined, answered] = [{ version: 1, phase: "open", number: 0 }, { version: 2, phase: "open", number: 0, answer: { place: 1 } }];
  const answers = { join: [joined], answer: [{ error: "too_fast" }, answered] };
  const { wake } = serve(answers);
  const states = [];
  const refusals = [];
  const link = connect("CODE", "id", { onState: (state) => states.push(state), onOffline: () => {}, onRefusal: (error) => refusals.push(error), onEnd: () => {} });
  await setImmediate();
  link.submit({ number: 0, place: 1 });
  while (answers.answer.length > 1) await setImmediate();
  await setImmediate();
  wake(); // the pause after "too_fast"
  while (answers.answer.length > 0) await setImmediate();
  await setImmediate();
  assert.deepEqual([states, refusals, link.answerOnItsWay()], [[joined, answered], [], null]);
});

test("of a session that is lost, nothing more is asked", async (t) => {
  const { fetch } = globalThis;
  t.after(() => { globalThis.fetch = fetch; });
  globalThis.fetch = () => assert.fail("the server was asked");
  const on = { isWanted: () => true, onError: () => assert.fail("it was told that it failed") };
  assert.equal(await askUntilAnswered(null, "reveal", { number: 0 }, on), null);
});
