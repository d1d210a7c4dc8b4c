// The chosen step's bars at another temperature: what sampling would see. The run keeps the exact sums over the whole vocabulary at a
// few temperatures, so the slider stops at these and no number is guessed, everything else included. Looking at another step brings
// T = 1 back.

import { atTemperature, temperatureLabel, temperaturesOf } from "../core/temperature.js";
import { texts } from "../core/texts.js";
import { labelOf } from "../core/tokens.js";

export function findTemperature(root) {
  const one = (selector) => root.querySelector(selector);
  return { box: one(".gs-temperature"), slider: one(".gs-heat"), value: one(".gs-heat-value"), word: one(".gs-heat-word"), power: 1, of: null };
}

// The step that the bars show.
export function stepAtTemperature(heat, step) {
  if (heat.of !== step) Object.assign(heat, { of: step, power: 1 }); // another step: as the model has it
  const powers = temperaturesOf(step);
  const isKnown = powers.length > 1;
  heat.slider.disabled = !isKnown;
  heat.slider.max = Math.max(0, powers.length - 1);
  heat.slider.value = Math.max(0, powers.indexOf(heat.power));
  const label = temperatureLabel(heat.power);
  heat.value.textContent = `T = ${label}`;
  heat.slider.setAttribute("aria-valuetext", `T = ${label}`);
  const key = !isKnown ? "temperature.none" : heat.power === 1 ? "temperature.plain" : heat.power > 1 ? "temperature.cold" : "temperature.warm";
  texts.write(heat.word, key, { temperature: label, token: labelOf(step.candidates[0]) });
  heat.box.parentElement.classList.toggle("gs-sampling", heat.power !== 1);
  return atTemperature(step, heat.power);
}

export function listenToTemperature(heat, panel) {
  heat.slider.addEventListener("input", () => {
    heat.power = temperaturesOf(heat.of)[Number(heat.slider.value)] ?? 1;
    panel.schedule();
  });
}
