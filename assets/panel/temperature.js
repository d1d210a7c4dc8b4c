// The chosen step's bars at another temperature: what sampling would see. The run keeps the exact sums over the whole vocabulary at a
// few temperatures, so the slider stops at these and no number is guessed, everything else included. Looking at another step brings
// T = 1 back.

const warmed = new WeakMap(); // by step and power, so that what is drawn already is known again

function temperaturesOf(step) {
  return (step.log_sums ?? []).map(([power]) => power).toSorted((a, b) => b - a); // 1 / T: the coldest first
}

// The step with its probabilities at 1 / T = power; the tokens, their order and the pick stay.
function atTemperature(step, power) {
  if (power === 1) return step;
  if (!warmed.has(step)) warmed.set(step, new Map());
  const known = warmed.get(step);
  if (!known.has(power)) known.set(power, warm(step, power));
  return known.get(power);
}

function warm(step, power) {
  const sum = logSum(step, power);
  const probability = (candidate) => Math.min(1, Math.exp(logitOf(step, candidate) * power - sum));
  const at = (candidate) => ({ ...candidate, probability: probability(candidate) });
  const candidates = step.candidates.map(at);
  const rest = Math.max(0, 1 - candidates.reduce((total, each) => total + each.probability, 0));
  return { ...step, candidates, picked: at(step.picked), rest };
}

// "2/3" where decimals would only be near it.
function temperatureLabel(power) {
  const temperature = 1 / power;
  const thirds = Math.round(temperature * 3);
  return Math.abs(temperature * 100 - Math.round(temperature * 100)) < 1e-9 ? String(temperature) : `${thirds}/3`;
}

function findTemperature(root) {
  const one = (selector) => root.querySelector(selector);
  return { box: one(".gs-temperature"), slider: one(".gs-heat"), value: one(".gs-heat-value"), word: one(".gs-heat-word"), power: 1, of: null };
}

// The step that the bars show.
function stepAtTemperature(heat, step) {
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

function listenToTemperature(heat, panel) {
  heat.slider.addEventListener("input", () => {
    heat.power = temperaturesOf(heat.of)[Number(heat.slider.value)] ?? 1;
    panel.schedule();
  });
}
