// The formulas of the lesson, with the numbers of the run on screen: softmax and argmax for the chosen step, and for the text up to it
// the product of the picked probabilities, its logarithm, perplexity and entropy. A part that is pointed at, or focused, is
// highlighted wherever it occurs, and explained in a sentence.

import { markOfPick } from "../core/how_picked.js";
import { MARKS } from "../core/bar_rows.js";
import { number, numberFromLog, percent } from "../core/numbers.js";
import { logitOf, logSum, optionsOf } from "../core/log_sums.js";
import { texts } from "../core/texts.js";
import { labelOf } from "../core/tokens.js";
import { isolate } from "../core/visible.js";
import { headCell, label, make } from "../view/elements.js";

/** @import { Candidate, Run, Step } from "../core/run.js" */
/** @import { Panel } from "../core/state.js" */
/** @import { Values } from "../core/texts.js" */

const TERMS_SHOWN = 3;

/** @typedef {ReturnType<typeof findFormulas>} Formulas */

/**
 * @typedef {object} Section formulas with one sentence, which explains the part that is pointed at
 * @property {HTMLElement} box
 * @property {HTMLElement} meaning where the sentence stands
 * @property {string | null} highlighted the part
 * @property {(part: string) => void} [explain] once it is drawn
 */

/** @param {HTMLElement} root */
export function findFormulas(root) {
  const [softmax, soFar] = root.querySelectorAll(".gs-math");
  /** @type {(box: HTMLElement) => Section} */
  const makeSection = (box) => ({ box, meaning: box.querySelector(".gs-meaning"), highlighted: null });
  return { page: root.querySelector("#gs-page-lesson"), softmax: makeSection(softmax), soFar: makeSection(soFar), rank: /** @type {number | null} */ (null), step: /** @type {Step | null} */ (null) };
}

/**
 * @param {Formulas} formulas
 * @param {Run} run
 * @param {number} chosen
 */
export function drawFormulas(formulas, run, chosen) {
  const step = run.steps[chosen];
  for (const { box } of [formulas.softmax, formulas.soFar]) box.hidden = !step;
  if (!step) { // what was shown of another step is not to be found here either
    for (const part of formulas.page.querySelectorAll("tbody, tfoot, b, .gs-chain-of, .gs-meaning")) part.replaceChildren();
    return;
  }
  if (formulas.step !== step) Object.assign(formulas, { step, rank: step.picked.rank });
  drawSoftmax(formulas, step);
  drawSoFar(formulas, run.steps.slice(0, chosen + 1), step);
  for (const section of [formulas.softmax, formulas.soFar]) highlight(section);
}

// ---- the chosen step

/**
 * @param {Formulas} formulas
 * @param {Step} step
 */
function drawSoftmax(formulas, step) {
  const { box } = formulas.softmax;
  const options = optionsOf(step);
  const candidate = options.find(({ rank }) => rank === formulas.rank) ?? step.picked;
  const known = logSum(step) !== undefined;
  box.querySelector(".gs-no-logits").hidden = known;
  for (const part of box.querySelectorAll('[data-part="logit"], [data-part="exp"], [data-part="sum"]')) part.classList.toggle("gs-unknown", !known);
  box.querySelector(".gs-chain-of").textContent = isolate(labelOf(candidate));
  const logit = logitOf(step, candidate);
  const numbers = {
    token: labelOf(candidate),
    logit: known ? number(logit, 4) : "–",
    exp: known ? numberFromLog(logit) : "–",
    sum: known ? numberFromLog(Number(logSum(step))) : "–",
    probability: percent(candidate.probability),
    argmax: labelOf(step.candidates[0]),
  };
  fillFormulaParts(formulas.softmax, numbers, (part) => {
    if (part === "argmax" && step.forced) return "math.argmax.forced.means";
    return `math.${part}.means`;
  });
  const rows = options.map((each) => logitRow(step, each, each === candidate, known));
  // A row that is replaced loses the focus of its button.
  const focused = [...box.querySelectorAll("tbody button")].indexOf(document.activeElement);
  box.querySelector("tbody").replaceChildren(...rows);
  box.querySelectorAll("tbody button")[focused]?.focus();
  const rest = Math.max(0, 1 - options.reduce((sum, { probability }) => sum + probability, 0));
  const sum = logSum(step);
  box.querySelector("tfoot").replaceChildren(
    formulaRow(texts.translate("math.rest"), "–", known ? numberFromLog(Number(sum) + Math.log(rest)) : "–", percent(rest)),
    formulaRow(texts.translate("math.whole"), "–", known ? numberFromLog(Number(sum)) : "–", percent(1), "sum"),
  );
}

/**
 * @param {Step} step
 * @param {Candidate} candidate
 * @param {boolean} isChosen
 * @param {boolean} known the run keeps logits
 */
function logitRow(step, candidate, isChosen, known) {
  const mark = candidate.rank === 0 ? MARKS.argmax : step.forced && candidate.rank === step.picked.rank ? markOfPick(step) : "";
  const logit = logitOf(step, candidate);
  const row = formulaRow("", known ? number(logit, 4) : "–", known ? numberFromLog(logit) : "–", percent(candidate.probability));
  const choose = make("button", "gs-link");
  choose.append(label(candidate, "gs-chip-text", mark));
  choose.type = "button";
  choose.dataset.formula = String(candidate.rank);
  if (isChosen) row.setAttribute("aria-current", "true");
  row.cells[0].append(choose);
  if (candidate.rank === 0) row.cells[0].dataset.part = "argmax";
  return row;
}

/**
 * @param {string} name
 * @param {string} logit
 * @param {string} exp
 * @param {string} probability
 * @param {string} [part]
 * @returns {HTMLTableRowElement}
 */
function formulaRow(name, logit, exp, probability, part = "exp") {
  const row = make("tr", "");
  row.append(headCell(name, "row"), make("td", "", logit), make("td", "", exp), make("td", "", probability));
  [row.cells[1].dataset.part, row.cells[2].dataset.part, row.cells[3].dataset.part] = ["logit", part, "probability"];
  return row;
}

// ---- the text up to the chosen step

/**
 * @param {Formulas} formulas
 * @param {Step[]} steps
 * @param {Step} step
 */
function drawSoFar(formulas, steps, step) {
  const { box } = formulas.soFar;
  const rows = [];
  let sum = 0;
  for (const { index, picked } of steps) {
    sum += picked.logprob ?? -Infinity;
    rows.push(growingRow(index, picked, sum));
  }
  const n = steps.length;
  const nats = step.entropy ?? NaN;
  const numbers = {
    count: n,
    product: `${joinTerms(steps, ({ picked }) => numberFromLog(picked.logprob ?? -Infinity), " × ")} = ${numberFromLog(sum)}`,
    logs: `${joinTerms(steps, ({ picked }) => number(picked.logprob, 3), " + ", true)} = ${number(sum, 3)}`,
    perplexity: `exp(${number(-sum, 3)} ÷ ${n}) = ${number(Math.exp(-sum / n), 2)}`,
    entropy: Number.isFinite(nats) ? texts.translate("math.entropy.numbers", { nats: number(nats, 3), bits: number(nats / Math.LN2, 3), choices: choicesOf(nats) }) : "–",
    choices: choicesOf(nats),
    equal: number(Math.exp(-sum / n), 1),
    total: numberFromLog(sum),
  };
  fillFormulaParts(formulas.soFar, numbers, (part) => (part === "entropy" && !Number.isFinite(nats) ? "math.entropy.none" : `math.${part}.means`));
  const body = box.querySelector("tbody");
  body.replaceChildren(...rows);
  body.lastElementChild.setAttribute("aria-current", "step");
  const scroll = box.querySelector(".gs-scroll");
  scroll.scrollTop = scroll.scrollHeight;
}

/**
 * As many equal choices as would leave a reader this unsure.
 * @param {number} nats
 */
function choicesOf(nats) {
  const choices = Math.exp(nats);
  return choices < 10 ? number(choices, 1) : number(choices, 0);
}

/**
 * @param {Step[]} steps
 * @param {(step: Step) => string} write
 * @param {string} sign
 * @param {boolean} [brackets]
 */
function joinTerms(steps, write, sign, brackets = false) {
  /** @type {(step: Step) => string} */
  const term = (step) => (brackets ? `(${write(step)})` : write(step));
  if (steps.length <= TERMS_SHOWN + 1) return steps.map(term).join(sign);
  return [term(steps[0]), "…", ...steps.slice(-TERMS_SHOWN + 1).map(term)].join(sign);
}

/**
 * @param {number} index
 * @param {Candidate} picked
 * @param {number} sum
 */
function growingRow(index, picked, sum) {
  const row = make("tr", "");
  const token = make("td", "gs-chip-text");
  token.append(label(picked));
  const cells = [percent(picked.probability), numberFromLog(sum), number(picked.logprob, 3), number(sum, 3), number(Math.exp(-sum / (index + 1)), 2)];
  row.dataset.step = String(index);
  row.append(headCell(String(index + 1), "row"), token, ...cells.map((text) => make("td", "", text)));
  for (const [place, part] of /** @type {[number, string][]} */ ([[3, "product"], [5, "logs"], [6, "perplexity"]])) row.cells[place].dataset.part = part;
  return row;
}

// ---- pointing

/**
 * @param {Section} section
 * @param {Values} numbers
 * @param {(part: string) => string} keyOf
 */
function fillFormulaParts(section, numbers, keyOf) {
  section.explain = (part) => texts.write(section.meaning, keyOf(part), numbers);
  for (const button of section.box.querySelectorAll("button.gs-part")) button.querySelector("b").textContent = numbers[button.dataset.part];
}

/** @param {Section} section */
function highlight(section) {
  const { box, highlighted, meaning, explain } = section;
  for (const part of box.querySelectorAll("[data-part]")) part.classList.toggle("gs-lit", part.dataset.part === highlighted);
  if (highlighted) explain?.(highlighted);
  else texts.write(meaning, "math.point");
}

/**
 * @param {Formulas} formulas
 * @param {Panel} panel
 */
export function listenToFormulas(formulas, panel) {
  for (const section of [formulas.softmax, formulas.soFar]) {
    /** @type {(event: PageEvent) => void} */
    const onPoint = (event) => {
      const part = event.target.closest("[data-part]")?.dataset.part;
      if (!part || part === section.highlighted) return;
      section.highlighted = part;
      highlight(section);
    };
    for (const name of ["pointerover", "focusin", "click"]) section.box.addEventListener(name, onPoint);
  }
  formulas.softmax.box.addEventListener("click", (event) => {
    const rank = event.target.closest("[data-formula]")?.dataset.formula;
    if (rank === undefined) return;
    formulas.rank = Number(rank);
    panel.schedule();
  });
}
