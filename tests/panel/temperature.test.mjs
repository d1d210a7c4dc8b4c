// The slider of the temperature, before there is a step to look at and then.

import assert from "node:assert/strict";
import { test } from "node:test";
import { load, runOf } from "./helpers.mjs";

const { findTemperature, listenToTemperature } = await load("view/temperature.js");

test("a slider that is moved before there is a step leaves the temperature at 1", () => {
  const slider = { value: "0", addEventListener: (_, moved) => { slider.moved = moved; } };
  const temperature = findTemperature({ querySelector: (selector) => (selector === ".gs-heat" ? slider : {}) });
  let drawings = 0;
  listenToTemperature(temperature, { schedule: () => { drawings += 1; } });
  slider.moved();
  assert.deepEqual([temperature.power, drawings], [1, 1]);
  const [step] = runOf([" most"]).steps;
  Object.assign(temperature, { step: { ...step, log_sums: [[1, 0], [2, 0]] } });
  slider.moved();
  assert.deepEqual([temperature.power, drawings], [2, 2]); // 1 / T, the coldest first
});
