// Beyond argmax, in the "What if?" tab: draw from a step on, draw twenty texts at once, go on past the end of the text, and ask for the
// probability of a text that one names. It asks; the server answers with a run, or with numbers that are drawn here.

import { number, percent } from "../core/numbers.js";
import { requestUpTo } from "../core/run.js";
import { recordSentence } from "../core/record_sentences.js";
import { texts } from "../core/texts.js";
import { joinedLabel } from "../core/tokens.js";
import { oneLine } from "../core/visible.js";
import { label, make, setText } from "../view/elements.js";

/** @import { Sampling } from "../core/how_picked.js" */
/** @import { Candidate, Run, StopReason } from "../core/run.js" */
/** @import { Panel, State } from "../core/state.js" */
/** @import { Values } from "../core/texts.js" */
/** @import { Token } from "../core/tokens.js" */
/** @import { Parts } from "../view/panel_elements.js" */

/** @typedef {ReturnType<typeof drawRequest> & { count: number }} DrawsRequest */

/** @typedef {{ text: string, token_ids: number[], logprob: number, stop_reason: StopReason }} RunSummary a run that is no more than told of */

/** @typedef {RunSummary & { seed: number | "" }} DrawnText "" of the greedy one */

/** @typedef {Token & { probability: number, rank: number, count: number }} NextToken that came next in `count` draws */

/**
 * @typedef {object} Draws what the server answers: decoding/questions/sampled_runs.py
 * @property {Sampling & { first: number }} sampling
 * @property {RunSummary} greedy
 * @property {(RunSummary & { seed: number })[]} draws
 * @property {NextToken[]} next
 */

/** @typedef {{ tokens: Candidate[], probability: number, logprob: number | null, remarks: string[] }} NamedText */

const DRAWS = 20;
const DOTS_REM = 3;
const MOST_DRAWN = 8;

/**
 * What the tab's buttons ask, by the name in `data-ask`; and what becomes of the answers.
 * @param {Parts} parts
 * @param {State} state
 * @param {Panel} panel
 * @returns {Record<string, () => void>}
 */
export function listenToSampling(parts, state, panel) {
  const { root } = parts;
  /** @type {(selector: string) => ReturnType<ParentNode["querySelector"]>} */
  const find = (selector) => root.querySelector(selector);
  /** @type {(name: string) => ReturnType<typeof find>} */
  const field = (name) => find(`.gs-draw-${name}`);
  const numbers = () => ({ temperature: field("temperature").valueAsNumber, top_k: field("top-k").valueAsNumber, top_p: field("top-p").valueAsNumber, seed: field("seed").valueAsNumber });
  const requestFromFields = () => drawRequest(state.run, state.chosen, numbers());
  let drawn = /** @type {{ request: DrawsRequest, found: Draws } | null} */ (null); // the request of the draws that are shown, and their answer
  let waiting = /** @type {DrawsRequest | null} */ (null);
  root.addEventListener("answered", (/** @type {CustomEvent<{ place: string, answer: string }>} */ { detail: { place, answer } }) => {
    if (place === "named") return showNamed(find(".gs-named"), JSON.parse(answer));
    drawn = { request: /** @type {DrawsRequest} */ (waiting), found: JSON.parse(answer) };
    showDraws(find(".gs-draws"), drawn.found);
  });
  root.addEventListener("click", (/** @type {PageEvent<MouseEvent>} */ { target }) => {
    const at = target.closest("[data-seed]");
    if (!at || !drawn) return;
    const { count, ...request } = drawn.request;
    const seed = at.dataset.seed === "" ? null : Number(at.dataset.seed);
    const { sampling, ...greedy } = request;
    panel.ask("branch", seed === null ? greedy : { ...request, sampling: { ...sampling, seed } }, { step: sampling.first });
  });
  return {
    sample: () => panel.ask("branch", requestFromFields(), { step: state.chosen }),
    draws: () => {
      const request = { ...requestFromFields(), count: DRAWS };
      if (panel.ask("draw", request)) waiting = request;
    },
    pastEnd: () => {
      const { run } = state;
      const request = requestUpTo(run, run.steps.length);
      panel.ask("branch", { ...request, past_end: !run.header.past_end }, { step: Math.max(0, run.steps.length - 1), placeToShow: "picture" });
    },
    named: () => {
      const picked = state.run.steps.slice(0, state.chosen).map((step) => step.picked.token_id);
      find(".gs-named").replaceChildren(); // the answer about another text
      panel.ask("named", { ...requestUpTo(state.run, 0), picked, text: find(".gs-named-text").value });
    },
  };
}

/**
 * The request for a run that draws from a step on, and keeps the tokens before it.
 * @param {Run} run
 * @param {number} step
 * @param {Sampling} numbers
 */
function drawRequest(run, step, numbers) {
  const forced = run.steps.slice(0, step).filter((each) => each.forced && (each.draw || !each.past_end));
  return { ...requestUpTo(run, 0), forced: forced.map((each) => [each.index, each.picked.token_id]), sampling: { ...numbers, first: Math.max(0, step) } };
}

/**
 * @param {Parts} parts
 * @param {State} state
 */
export function drawSampling(parts, state) {
  const { root } = parts;
  const { header, steps } = state.run;
  root.querySelector('[data-ask="pastEnd"]').setAttribute("aria-pressed", Boolean(header.past_end));
  /** @type {(key: string) => string} */
  const sentence = (key) => (steps.length ? texts.translate(key, { step: state.chosen + 1 }) : "");
  root.querySelector(".gs-draw-from").textContent = sentence("whatif.draw.place");
  root.querySelector(".gs-draw-place").textContent = sentence("whatif.own.place");
  // The text itself may be out of sight.
  const { sampling } = header;
  const after = steps.slice(sampling?.first ?? 0).map(({ picked }) => picked);
  setText(root.querySelector(".gs-draw-status"), sampling && after.length ? texts.translate("whatif.draw.drawn", { step: (sampling.first ?? 0) + 1, seed: sampling.seed ?? 0, tokens: joinedLabel(after.slice(0, MOST_DRAWN)) }) : "");
}

/**
 * Twenty draws as a picture: the tokens that came next, the log-probabilities of the texts on one line, and each text.
 * @param {HTMLElement} box
 * @param {Draws} found
 */
function showDraws(box, found) {
  const { draws, greedy, next, sampling } = found;
  /** @type {(key: string, values?: Values) => HTMLElement} */
  const title = (key, values) => Object.assign(make("h4", ""), { textContent: texts.translate(key, values) });
  const tokens = make("ol", "gs-repeats gs-draw-next");
  const greedyId = greedy.token_ids[sampling.first];
  tokens.append(...next.map((token) => nextRow(token, draws.length, token.token_id === greedyId)));
  const all = /** @type {DrawnText[]} */ ([{ ...greedy, seed: "" }, ...draws]).toSorted((a, b) => b.logprob - a.logprob);
  const list = make("ol", "gs-draw-texts");
  list.append(...all.map(textRow));
  const above = draws.filter(({ logprob }) => logprob > greedy.logprob).length;
  box.replaceChildren(
    title("draws.next", { step: sampling.first + 1, count: draws.length }), tokens,
    title("draws.texts"), make("p", "gs-aside", texts.translate("draws.above", { above, count: draws.length, distinct: new Set(draws.map(({ token_ids: ids }) => ids.join())).size })),
    dotPlot(all, greedy), list,
  );
  box.hidden = false;
}

/**
 * @param {NextToken} token
 * @param {number} count
 * @param {boolean} isGreedy
 */
function nextRow(token, count, isGreedy) {
  const item = make("li", `gs-bar gs-${isGreedy ? "argmax" : "other"}`);
  item.style.setProperty("--p", String(token.count / count));
  const value = make("span", "gs-bar-value", texts.translate("draws.times", { count: token.count, share: percent(token.probability) }));
  item.append(label(token, "gs-bar-label", isGreedy ? "▸ " : ""), make("span", "gs-bar-track"), value);
  return item;
}

/**
 * Each text as a dot at its log-probability; greedy's is a diamond.
 * @param {DrawnText[]} all
 * @param {RunSummary} greedy
 */
function dotPlot(all, greedy) {
  const values = all.map(({ logprob }) => logprob);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  /** @type {(logprob: number) => number} */
  const placeOf = (logprob) => (most > least ? 3 + (94 * (logprob - least)) / (most - least) : 50);
  const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  picture.setAttribute("class", "gs-dots");
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", texts.translate("draws.dots", { least: number(least, 2), most: number(most, 2), greedy: number(greedy.logprob, 2) }));
  picture.style.height = `${DOTS_REM}rem`;
  /** @type {(name: string, attributes: Record<string, string | number>, words?: string) => SVGElement} */
  const shape = (name, attributes, words = "") => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
    node.textContent = words;
    return node;
  };
  picture.append(shape("line", { x1: "0%", x2: "100%", y1: "50%", y2: "50%" }));
  for (const { logprob, seed } of all) if (seed !== "") picture.append(shape("circle", { cx: `${placeOf(logprob)}%`, cy: "50%", r: 5 }));
  picture.append(shape("text", { x: `${placeOf(greedy.logprob)}%`, y: "50%", "text-anchor": "middle", dy: "0.35em", class: "gs-dot-greedy" }, "◆"));
  picture.append(shape("text", { x: 0, y: "95%" }, number(least, 2)), shape("text", { x: "100%", y: "95%", "text-anchor": "end" }, number(most, 2)));
  return picture;
}

/** @param {DrawnText} drawn */
function textRow({ seed, text, logprob, token_ids: ids }) {
  const item = make("li", "");
  const button = make("button", "gs-link");
  button.type = "button";
  button.dataset.seed = String(seed);
  button.textContent = seed === "" ? texts.translate("draws.greedy") : texts.translate("draws.seed", { seed });
  button.title = texts.translate("draws.open");
  const words = make("span", "gs-draw-text", oneLine(text));
  words.dir = "auto";
  words.translate = false;
  item.append(button, " ", make("span", "gs-draw-sum", texts.translate("draws.sum", { logprob: number(logprob, 2), count: ids.length })), " ", words);
  return item;
}

/**
 * The probability of a text that was named: of each token, with its rank, and of all.
 * @param {HTMLElement} box
 * @param {NamedText} named
 */
function showNamed(box, { tokens, probability, logprob, remarks }) {
  const list = make("ol", "gs-repeats gs-draw-next");
  list.append(...tokens.map((token) => {
    const item = make("li", "gs-bar gs-other");
    item.style.setProperty("--p", String(token.probability));
    const value = make("span", "gs-bar-value", texts.translate("named.token", { probability: percent(token.probability), rank: (token.rank + 1).toLocaleString("en") }));
    item.append(label(token, "gs-bar-label"), make("span", "gs-bar-track"), value);
    return item;
  }));
  const whole = make("p", "", texts.translate("named.whole", { probability: percent(probability), logprob: number(logprob, 3), count: tokens.length }));
  box.replaceChildren(list, whole, ...remarks.map((remark) => make("p", "gs-aside", recordSentence(remark))));
}
