// The chosen step's bars at another temperature: what sampling would see. The run keeps the exact sums over the whole vocabulary at a
// few temperatures, so the slider stops at these and no number is guessed, everything else included. Looking at another step brings
// T = 1 back.

import { atTemperature, temperatureLabel, temperaturesOf } from "../core/temperature.js";
import { texts } from "../core/texts.js";
import { labelOf } from "../core/tokens.js";

/** @import { Step } from "../core/run.js" */
/** @import { Panel } from "../core/state.js" */

/** @typedef {ReturnType<typeof findTemperature>} Temperature */

/** @param {HTMLElement} root */
export function findTemperature(root) {
  /** @type {(selector: string) => ReturnType<ParentNode["querySelector"]>} */
  const find = (selector) => root.querySelector(selector);
  return { box: find(".gs-temperature"), slider: find(".gs-heat"), value: find(".gs-heat-value"), word: find(".gs-heat-word"), power: 1, step: /** @type {Step | null} */ (null) };
}

/**
 * The step that the bars show.
 * @param {Temperature} temperature
 * @param {Step} step
 * @returns {Step}
 */
export function stepAtTemperature(temperature, step) {
  if (temperature.step !== step) Object.assign(temperature, { step, power: 1 }); // another step: as the model has it
  const powers = temperaturesOf(step);
  const isKnown = powers.length > 1;
  temperature.slider.disabled = !isKnown;
  temperature.slider.title = isKnown ? "" : texts.translate("temperature.none");
  temperature.slider.max = Math.max(0, powers.length - 1);
  temperature.slider.value = Math.max(0, powers.indexOf(temperature.power));
  const label = temperatureLabel(temperature.power);
  temperature.value.textContent = `T = ${label}`;
  temperature.slider.setAttribute("aria-valuetext", `T = ${label}`);
  const key = !isKnown ? "temperature.none" : temperature.power === 1 ? "temperature.plain" : temperature.power > 1 ? "temperature.cold" : "temperature.warm";
  texts.write(temperature.word, key, { temperature: label, token: labelOf(step.candidates[0]) });
  temperature.box.parentElement.classList.toggle("gs-sampling", temperature.power !== 1);
  return atTemperature(step, temperature.power);
}

/**
 * @param {Temperature} temperature
 * @param {Panel} panel
 */
export function listenToTemperature(temperature, panel) {
  temperature.slider.addEventListener("input", () => {
    const { step, slider } = temperature;
    temperature.power = step ? (temperaturesOf(step)[Number(slider.value)] ?? 1) : 1;
    panel.schedule();
  });
}
