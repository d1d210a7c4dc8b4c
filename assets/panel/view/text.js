// The growing text: the prompt, then one chip per token.

import { number, percent } from "../core/numbers.js";
import { promptScoreOf, promptText, repeatAt } from "../core/run.js";
import { texts } from "../core/texts.js";
import { idLabel, joinedLabel, labelOf } from "../core/tokens.js";
import { FRAMES, visible } from "../core/visible.js";
import { label, make } from "./elements.js";
import { setTabStop } from "./tab_stop.js";

/** @import { PromptScore, Run, Step } from "../core/run.js" */
/** @import { Parts } from "./panel_elements.js" */

const MOST_CHIPS = 2000; // of a message's prompt; a longer one is text
const SPECIAL = /^(<[^<>\s]{2,}>|\[[^[\]\s]{2,}\])$/;
const MOST_NATS = 8; // of an entropy: what is more has the darkest shade

/**
 * @param {Parts} parts
 * @param {Run} run
 * @param {number} drawn
 * @param {number} until
 */
export function drawText(parts, run, drawn, until) {
  if (drawn === 0) {
    const hasFocus = parts.text.contains(document.activeElement);
    parts.text.replaceChildren(...promptNodes(run));
    if (hasFocus) parts.text.focus({ preventScroll: true }); // until there is a chip again
    drawPromptTokens(parts, run);
  }
  for (const step of run.steps.slice(drawn, until)) {
    parts.text.append(chip(step));
    if (step.picked.text.includes("\n")) parts.text.append(document.createElement("br"));
  }
}

/**
 * @param {Run} run
 * @returns {HTMLElement[]}
 */
function promptNodes(run) {
  if (run.promptScores.length || (run.header.as_message && run.header.prompt_tokens.length <= MOST_CHIPS)) return [promptChips(run)];
  const prompt = make("span", "gs-prompt", promptText(run).replace(FRAMES, visible).replaceAll("\n", "↵\n"));
  if (/^[\p{Cf}\s]+$/u.test(prompt.textContent)) prompt.textContent = visible(promptText(run)); // else nothing of it would be seen
  if (prompt.textContent !== "") return [prompt];
  prompt.textContent = joinedLabel(run.header.prompt_tokens);
  return [prompt, Object.assign(make("span", "gs-aside", ` ${texts.translate("text.empty")} `), { translate: true })];
}

/**
 * A prompt that has been scored, or that a chat template made: a chip a token, coloured as what is written is where it has a score. The
 * template's special tokens have a frame, and lines are broken where it breaks them.
 * @param {Run} run
 * @returns {HTMLElement}
 */
function promptChips(run) {
  const prompt = make("span", "gs-prompt gs-scored");
  const isMessage = Boolean(run.header.as_message);
  prompt.append(...run.header.prompt_tokens.flatMap((token, place) => {
    const score = promptScoreOf(run, place);
    const node = make("span", score ? "gs-chip" : "gs-chip gs-unscored");
    node.append(label(token), make("span", "gs-id", idLabel(token)));
    node.classList.toggle("gs-special", isMessage && SPECIAL.test(token.text));
    const nodes = isMessage && token.text.includes("\n") ? [node, document.createElement("br")] : [node];
    if (!score) return nodes;
    shade(node, { ...score, probability: Math.exp(score.logprob ?? -Infinity) });
    node.title = texts.translate("text.prompt.chip", { place: place + 1, token: labelOf(token), ...scoreValues(score), id: idLabel(token) });
    return nodes;
  }));
  return prompt;
}

/** @param {PromptScore} score */
function scoreValues({ logprob, rank, entropy }) {
  return { probability: percent(Math.exp(logprob ?? -Infinity)), rank: rank + 1, entropy: number(entropy, 2) };
}

/**
 * What a chip's shade is made of: the probability, the rank, or the entropy, as chosen.
 * @param {HTMLElement} node
 * @param {{ probability: number, rank: number, entropy: number | null }} score
 */
function shade(node, { probability, rank, entropy }) {
  node.style.setProperty("--p", String(probability));
  node.style.setProperty("--r", String(1 / (1 + Math.log2(1 + rank))));
  node.style.setProperty("--e", String(Math.min(1, (entropy ?? 0) / MOST_NATS)));
}

/**
 * @param {Parts} parts
 * @param {Run} run
 */
function drawPromptTokens(parts, run) {
  const tokens = run.header.prompt_tokens;
  const [summary, list, ask] = parts.promptTokens.children;
  if (ask) ask.hidden = run.promptScores.length > 0; // a file has no server to ask
  parts.promptTokens.hidden = tokens.length === 0;
  summary.textContent = texts.translate(run.header.as_message ? "text.tokens.message" : "text.tokens", { count: tokens.length });
  const draw = () => { if (parts.promptTokens.open) list.replaceChildren(...promptItems(run)); };
  list.replaceChildren();
  parts.promptTokens.ontoggle = draw; // a closed list is not drawn
  draw();
}

/**
 * A prompt of thousands of tokens would make a page of thousands of elements.
 * @param {Run} run
 * @returns {HTMLLIElement[]}
 */
function promptItems(run) {
  const { prompt_tokens: tokens } = run.header;
  const items = tokens.slice(0, 400).map((token, place) => {
    const item = make("li", "gs-token");
    const score = promptScoreOf(run, place);
    item.append(label(token), make("span", "gs-id", idLabel(token)));
    if (score) item.append(make("span", "gs-id", texts.translate("text.prompt.score", scoreValues(score))));
    return item;
  });
  if (tokens.length > 400) items.push(make("li", "gs-aside", texts.translate("text.more", { count: tokens.length - 400 })));
  return items;
}

/**
 * @param {Step} step
 * @returns {HTMLButtonElement}
 */
function chip(step) {
  const { picked, index } = step;
  const button = make("button", "gs-chip");
  button.type = "button";
  button.tabIndex = -1; // one of them is a stop of the Tab key: markChip
  button.dataset.step = String(index);
  shade(button, { ...picked, entropy: step.entropy });
  button.append(label(picked), make("span", "gs-id", idLabel(picked)));
  button.classList.toggle("gs-forced", step.forced);
  button.classList.toggle("gs-drawn", Boolean(step.draw));
  button.classList.toggle("gs-passed", Boolean(step.past_end) && !step.draw);
  const values = { step: index + 1, token: labelOf(picked), probability: percent(picked.probability), rank: picked.rank + 1, id: idLabel(picked) };
  button.title = texts.translate(step.forced ? "chip.forced" : "chip.picked", values);
  button.setAttribute("aria-label", button.title);
  return button;
}

/**
 * Loops are known when a run has ended: a sign and a number of the repeat on each of their chips.
 * @param {Parts} parts
 * @param {Run} run
 */
export function markLoops(parts, run) {
  for (const button of parts.text.querySelectorAll(".gs-chip")) {
    const index = Number(button.dataset.step);
    const repeat = repeatAt(run, index);
    button.classList.toggle("gs-loop", repeat !== null);
    parts.strip.children[index]?.classList.toggle("gs-loop", repeat !== null);
    if (repeat !== null && !button.title.includes("↻")) button.title += ` ${texts.translate("chip.loop", { number: repeat + 1 })}`;
  }
}

/**
 * @param {Parts} parts
 * @param {number} chosen
 */
export function markChip(parts, chosen) {
  const before = parts.text.querySelector('[aria-current="step"]');
  const chosenChip = parts.text.querySelector(`[data-step="${chosen}"]`);
  if (before !== chosenChip) before?.removeAttribute("aria-current");
  setTabStop(parts.text, chosenChip);
  if (!chosenChip) { // it is to be guessed, or not there yet: what it goes on from is in sight
    parts.text.scrollTop = parts.text.scrollHeight;
    return;
  }
  chosenChip.setAttribute("aria-current", "step");
  if (parts.text.contains(document.activeElement)) chosenChip.focus({ preventScroll: true }); // the arrows move within the text
  // Scroll the text's own box, never the page.
  const box = parts.text.getBoundingClientRect();
  const place = chosenChip.getBoundingClientRect();
  if (place.top < box.top) parts.text.scrollTop -= box.top - place.top + 8;
  if (place.bottom > box.bottom) parts.text.scrollTop += place.bottom - box.bottom + 8;
}
