// What a student sees of a state: the step that is asked, the own answer, and after the reveal the result and the bars of model and class.
// Every text is a text node. Knows no network.

import { number, percent } from "../panel/core/numbers.js";
import { texts } from "../panel/core/texts.js";
import { oneLine } from "../panel/core/visible.js";

/** @import { VoteOption, VoteResult } from "../panel/core/class_score.js" */
/** @import { Answer, NumberedAnswer, OpenState, RevealedState, StudentState } from "./connection.js" */

const MOST_BARS = 5;

/** @type {(selector: string) => ReturnType<ParentNode["querySelector"]>} */
const slot = (selector) => document.querySelector(selector);
const field = () => slot(".answer>label>input");

/**
 * @param {StudentState} state
 * @param {NumberedAnswer | null} waiting the answer that is on its way
 */
export function drawState(state, waiting) {
  const isOpen = state.phase === "open";
  const isNew = slot(".step").dataset.number !== String(state.number);
  if (isNew && isOpen) field().value = "";
  slot(".step").hidden = state.phase === "waiting";
  slot(".step").dataset.number = state.number;
  for (const part of [slot(".answer"), slot(".or")]) part.hidden = !isOpen;
  slot(".key").hidden = state.phase !== "revealed";
  if (state.phase === "waiting") writeStatus(texts.translate("vote.waiting"));
  else drawStep(state, waiting);
  drawScore(state);
}

/**
 * @param {OpenState | RevealedState} state
 * @param {NumberedAnswer | null} waiting
 */
function drawStep(state, waiting) {
  const isOpen = state.phase === "open";
  const title = isOpen ? texts.translate("predict.ask", { step: state.step }) : texts.translate("predict.step", { step: state.step, token: state.labels[state.result.picked] });
  if (slot("h2").textContent !== title) slot("h2").textContent = title;
  const text = slot(".text");
  const next = isOpen ? " ▁" : state.labels[state.result.picked];
  if (text.textContent !== state.text || text.dataset.next !== next) {
    text.textContent = state.text;
    text.dataset.next = next;
    text.scrollTop = text.scrollHeight;
  }
  const ownAnswer = waiting?.number === state.number ? waiting : state.answer;
  drawLabels(isOpen ? state.labels : [], ownAnswer, state.number);
  slot(".bars").replaceChildren(...(isOpen ? [] : barsOf(state.result)));
  if (isOpen) writeAnswerStatus(state, ownAnswer, waiting);
  else writeStatus(...resultSentence(state));
}

/**
 * The buttons stay the same while a step is open: one that is replaced loses its focus, and its press.
 * @param {string[]} labels
 * @param {Answer | null} ownAnswer
 * @param {number} questionNumber
 */
function drawLabels(labels, ownAnswer, questionNumber) {
  const list = slot(".labels");
  const drawn = labels.length ? String(questionNumber) : "";
  if (list.dataset.number !== drawn) {
    list.replaceChildren(...labels.map((label, place) => {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: label });
      button.dataset.place = String(place);
      const item = document.createElement("li");
      item.append(button);
      return item;
    }));
  }
  list.dataset.number = drawn;
  for (const button of list.querySelectorAll("button")) button.setAttribute("aria-pressed", Number(button.dataset.place) === ownAnswer?.place);
}

/**
 * @param {OpenState} state
 * @param {Answer | null} ownAnswer
 * @param {NumberedAnswer | null} waiting
 */
function writeAnswerStatus(state, ownAnswer, waiting) {
  if (!ownAnswer) writeStatus("");
  else writeStatus(texts.translate(ownAnswer === waiting ? "vote.answer.sending" : "vote.answer.mine", { answer: answerLabel(state, ownAnswer) }));
}

/**
 * @param {Pick<OpenState, "labels">} state
 * @param {Answer} answer
 * @returns {string}
 */
function answerLabel(state, answer) {
  return answer.place === undefined ? oneLine(answer.text.trim()) : state.labels[answer.place];
}

/**
 * The sentence, and its mark.
 * @param {RevealedState} state
 * @returns {[string, string?]}
 */
function resultSentence({ result, answer, worth, labels }) {
  const { probability } = result.options[result.picked];
  const picked = { token: labels[result.picked], picked: percent(probability) };
  if (!worth) return [texts.translate("vote.none", picked)];
  const share = worth.is_bound ? result.beyond : /** @type {VoteOption} */ (result.options.find(({ rank }) => rank === worth.rank)).probability;
  const values = { guess: answerLabel({ labels }, answer), rank: worth.rank + 1, share: percent(share), ...picked };
  return [texts.translate(worth.is_bound ? "predict.beyond" : worth.is_right ? "predict.right" : "predict.wrong", values), worth.is_right ? "✓ " : "✗ "];
}

/**
 * @param {string} text
 * @param {string} [mark]
 */
function writeStatus(text, mark = "") {
  const status = slot(".status");
  if (status.textContent !== mark + text) status.textContent = mark + text; // spoken once
}

/** @param {StudentState} state */
function drawScore({ score }) {
  const { answers: count, right } = score;
  const bound = score.is_bound ? "≥ " : "";
  const mean = { rank: bound + number(score.ranks / count, 2), bits: bound + number(score.bits / count, 2) };
  slot(".score").textContent = count ? `${texts.translate("vote.score.right", { count, right })} · ${texts.translate("vote.score.mean", mean)}` : "";
}

/**
 * The most probable candidates, those of the class among them, and what else was typed.
 * @param {VoteResult} result
 * @returns {HTMLLIElement[]}
 */
function barsOf(result) {
  const all = result.score.answers;
  const rows = result.options.map((option, place) => ({ ...option, isPicked: place === result.picked }));
  rows.sort((a, b) => a.rank - b.rank);
  const shown = rows.filter(({ votes, isPicked }, place) => place < MOST_BARS || votes || isPicked);
  const others = result.other_votes ? [{ label: texts.translate("vote.another"), probability: null, votes: result.other_votes, isPicked: false }] : [];
  return [...shown, ...others].map((row) => {
    const item = document.createElement("li");
    const name = makeSpan("label", (row.isPicked ? "▸ " : "") + row.label);
    name.classList.toggle("is-picked", row.isPicked);
    item.append(name);
    if (row.probability !== null) item.append(makeBar(row.probability), makeSpan("number", percent(row.probability)));
    if (all) item.append(makeClassBar(row.votes / all), makeSpan("number", texts.translate("vote.votes", { votes: row.votes, share: `${((row.votes / all) * 100).toFixed(0)} %` })));
    return item;
  });
}

/**
 * @param {string} name
 * @param {string} text
 */
function makeSpan(name, text) {
  return Object.assign(document.createElement("span"), { className: name, textContent: text });
}

/** @param {number} share */
function makeBar(share) {
  const node = makeSpan("bar", "");
  node.style.setProperty("--p", String(share));
  return node;
}

/** @param {number} share */
function makeClassBar(share) {
  const node = makeBar(share);
  node.classList.add("of-class");
  return node;
}
