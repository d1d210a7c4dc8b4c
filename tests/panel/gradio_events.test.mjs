// Run and Stop through a run's life, and what the panel hears of it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./helpers.mjs";

const { gradioEvents } = await load("app/gradio_events.js");

const FIELDS = { prompt: "a", steps: 2, choices: 2, model: "tiny", past_end: false, as_message: false };

/** What the panel has heard, and which of Run and Stop is unlocked. */
function started() {
  const root = new EventTarget();
  const heard = [];
  for (const name of ["drafted", "asked", "ended"]) root.addEventListener(name, ({ detail }) => heard.push([name, detail.reason ?? detail.prompt]));
  return { root, events: gradioEvents(root), heard };
}

const unlocked = ([run, stop]) => [run.interactive && "run", stop.interactive && "stop"].filter(Boolean);

test("Run is locked from the press to the end, and Stop is unlocked once there is something to stop", () => {
  const { events, heard } = started();
  assert.deepEqual(unlocked(events.asked(FIELDS)), []);
  assert.deepEqual(unlocked(events.begun()), ["stop"]);
  assert.deepEqual(unlocked(events.ended()), ["run"]);
  assert.deepEqual(heard, [["asked", "a"], ["ended", "error"]]); // a run that has ended by itself heeds no other end
});

test("Stop ends the run at once, and Run waits for the server", () => {
  const { events, heard } = started();
  events.asked();
  events.begun();
  assert.deepEqual(unlocked(events.stopped()), []);
  assert.deepEqual(unlocked(events.ended()), ["run"]);
  assert.deepEqual(heard, [["ended", "stopped"], ["ended", "stopped"]]);
  events.asked();
  events.begun();
  events.ended();
  assert.deepEqual(heard.at(-1), ["ended", "error"]); // a stop is of one run
});

test("a press of Stop that comes after the end leaves Run unlocked", () => {
  const { events, heard } = started();
  assert.deepEqual(unlocked(events.stopped()), ["run"]);
  assert.deepEqual(heard, []);
});

test("what is asked in mid-run leaves Stop unlocked", () => {
  const { events } = started();
  events.asked(FIELDS);
  events.begun();
  assert.deepEqual(unlocked(events.asked(FIELDS)), ["stop"]);
});

test("a beginning that is heard after the end, or after Stop, locks and unlocks nothing", () => {
  const { events } = started();
  events.asked(FIELDS);
  events.ended();
  assert.deepEqual(unlocked(events.begun()), ["run"]);
  events.asked(FIELDS);
  events.begun();
  events.stopped();
  assert.deepEqual(unlocked(events.begun()), []);
});

test("the browser's own engine locks and unlocks as the server does", () => {
  const { events } = started();
  events.setBusy(true);
  assert.deepEqual(unlocked(events.buttons()), ["stop"]);
  events.setBusy(false);
  assert.deepEqual(unlocked(events.buttons()), ["run"]);
});

test("a field that follows no run stays as it is", () => {
  const { root, events } = started();
  root.fieldsOfRun = () => ["b", null, 0, false];
  assert.deepEqual(events.follow(), ["b", { __type__: "update" }, 0, false]);
});
