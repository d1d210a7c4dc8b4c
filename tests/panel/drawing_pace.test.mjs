// How often a run that grows is drawn.

import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./helpers.mjs";

const { startDrawing } = await load("app/drawing_pace.js");

// When each drawing begins in a browser that takes `cost` milliseconds for one, and where something changes every 10.
function drawingTimes(cost, during, { grows = true, pressedUntil = 0 } = {}) {
  const { performance, setTimeout, clearTimeout } = globalThis;
  let now = 0;
  const timers = [];
  const later = (work, rest = 0) => {
    timers.push({ work, at: now + Math.max(0, rest) });
    return timers.at(-1);
  };
  globalThis.performance = { now: () => now };
  globalThis.setTimeout = later;
  globalThis.clearTimeout = (timer) => timers.includes(timer) && timers.splice(timers.indexOf(timer), 1);
  globalThis.requestAnimationFrame = (work) => later(work, 16 - (now % 16));
  const times = [];
  const { schedule, scheduleGrowth } = startDrawing(() => { times.push(now); now += cost; }, () => {});
  let steps = 0;
  while (now < during) {
    if (now >= steps * 10) {
      steps += 1;
      if (grows && now >= pressedUntil) scheduleGrowth();
      else schedule();
    }
    timers.sort((a, b) => a.at - b.at);
    if (timers[0]?.at <= now) timers.shift().work();
    else now += 1;
  }
  Object.assign(globalThis, { performance, setTimeout, clearTimeout, requestAnimationFrame: undefined });
  return times;
}

test("a run that grows takes a twentieth of the browser's time", () => {
  for (const cost of [5, 10, 20]) {
    const times = drawingTimes(cost, 6_000);
    const share = times.length * cost / 6_000;
    assert.ok(share < 0.06 && share > 0.03, `${cost} ms: ${share}`);
  }
});

test("what a reader did just before does not put off the first steps", () => {
  const times = drawingTimes(60, 1_000, { pressedUntil: 300 });
  const [first, second] = times.filter((time) => time >= 300);
  assert.ok(first <= 300 + 60 + 32, `${times}`);
  assert.ok(second - first > 300, `${times}`);
});

test("however slow its browser, a run is seen to grow", () => {
  const times = drawingTimes(400, 20_000);
  for (const [n, time] of times.entries()) assert.ok(n === 0 || time - times[n - 1] <= 850, `${times}`);
});

test("what a reader does is drawn in the next frame", () => {
  const times = drawingTimes(60, 3_000, { grows: false });
  for (const [n, time] of times.entries()) assert.ok(n === 0 || time - times[n - 1] <= 60 + 32, `${times}`);
});
