// What came of a vote as a picture of a slide's size: the share of the class that was right at each step beside the probability that the model
// gave its token, and the scores of both. SVG, of text nodes only; light, as slides and paper are.

import { meanScores, textNumbers } from "../core/class_score.js";
import { number } from "../core/numbers.js";
import { texts } from "../core/texts.js";
import { fitText, INK, MONO, SANS, shape, SLIDE, SVG, textLine } from "./step_image.js";
import { wholePercent } from "./vote_view.js";

/** @import { MeanScore, VoteResult } from "../core/class_score.js" */

const STEPS = { left: 200, right: 1824, top: 470, bottom: 900 };
const COLUMNS = [96, 900, 1200, 1500];
const MOST_LABELS = 24;

/**
 * @param {VoteResult[]} results
 * @returns {SVGElement}
 */
export function votesImage(results) {
  const { width, height, margin } = SLIDE;
  const scores = meanScores(results);
  const numbers = textNumbers(results);
  const answered = results.map((result, n) => ({ ...result, text: numbers[n] })).filter(({ score }) => score.answers > 0);
  const root = shape("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img" });
  const title = texts.translate("vote.summary");
  const answers = answered.reduce((sum, { score }) => sum + score.answers, 0);
  root.append(shape("title", {}, title), shape("rect", { width, height, fill: "#ffffff" }), classHatching());
  root.append(textLine(title, margin, 118, 56, { weight: "600" }));
  root.append(textLine(texts.translate("vote.summary.of", { count: answered.length, answers }), width - margin, 118, 36, { anchor: "end", fill: INK.muted }));
  if (scores) root.append(...scoreRows(scores), ...stepBars(answered));
  root.append(textLine("Greedyscope", width - margin, 1040, 28, { anchor: "end", fill: INK.muted }));
  return root;
}

/** @param {Record<"answers" | "choice" | "model", MeanScore>} scores */
function scoreRows(scores) {
  const heads = ["vote.summary.top", "predict.score.rank", "predict.score.bits"].map((key, n) => textLine(texts.translate(key), COLUMNS[n + 1], 190, 32, { fill: INK.muted }));
  const rows = Object.entries(scores).flatMap(([name, { right, rank, bits, isBound }], n) => {
    const y = 245 + 62 * n;
    const bound = isBound ? "≥ " : "";
    const cells = [texts.translate(`vote.summary.${name}`), wholePercent(right), bound + number(rank, 2), bound + number(bits, 2)];
    return cells.map((cell, place) => textLine(cell, COLUMNS[place], y, 40, { weight: name === "model" ? "400" : "600", fill: name === "model" ? INK.argmax : INK.forced }));
  });
  return [...heads, ...rows];
}

/**
 * For each step two bars on one axis, and the token under them; where there are several texts, a line and a number begin each.
 * @param {(VoteResult & { text: number })[]} results
 */
function stepBars(results) {
  const { left, right, top, bottom } = STEPS;
  const slot = Math.min(160, (right - left) / results.length);
  const wide = slot * 0.36;
  /** @type {(share: number) => number} */
  const high = (share) => (bottom - top) * share;
  const lines = [0, 25, 50, 75, 100].flatMap((share) => {
    const y = bottom - high(share / 100);
    return [shape("line", { x1: left, x2: right, y1: y, y2: y, stroke: INK.line, "stroke-width": 2 }), textLine(`${share} %`, left - 16, y + 9, 26, { anchor: "end", fill: INK.muted })];
  });
  const starts = results.flatMap(({ text }, n) => {
    if (results[0].text === results.at(-1)?.text || results[n - 1]?.text === text) return [];
    const x = left + slot * n;
    return [shape("line", { x1: x, x2: x, y1: top, y2: bottom + 104, stroke: INK.muted, "stroke-width": 2 }), textLine(texts.translate("vote.summary.text", { number: text }), x + 8, bottom + 104, 26, { fill: INK.muted })];
  });
  const bars = results.flatMap(({ step, options, picked, score }, n) => {
    const x = left + slot * n + slot * 0.1;
    const share = score.right / score.answers;
    const { probability, label } = options[picked];
    const isNamed = n % Math.ceil(results.length / MOST_LABELS) === 0;
    const size = Math.min(26, slot * 0.3);
    const name = textLine(fitText(label, size, MONO, slot * 0.96), x + wide, bottom + 34, size, { anchor: "middle", family: MONO });
    const place = textLine(String(step), x + wide, bottom + 68, size, { anchor: "middle", fill: INK.muted });
    return [
      shape("rect", { x, y: bottom - high(probability), width: wide, height: high(probability), fill: INK.argmax }),
      shape("rect", { x: x + wide, y: bottom - high(share), width: wide, height: high(share), fill: "url(#class-hatching)" }),
      ...(isNamed ? [name, place] : []),
    ];
  });
  const key = [
    shape("rect", { x: left, y: top - 52, width: 28, height: 28, fill: INK.argmax }), textLine(texts.translate("vote.summary.of_model"), left + 40, top - 28, 28, { family: SANS }),
    shape("rect", { x: left + 780, y: top - 52, width: 28, height: 28, fill: "url(#class-hatching)" }), textLine(texts.translate("vote.summary.of_class"), left + 820, top - 28, 28, { family: SANS }),
  ];
  return [...lines, ...starts, ...bars, ...key];
}

// The class differs from the model by its hatching too, never by colour alone.
function classHatching() {
  const pattern = document.createElementNS(SVG, "pattern");
  for (const [name, value] of Object.entries({ id: "class-hatching", width: "10", height: "10", patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" })) pattern.setAttribute(name, value);
  pattern.append(shape("rect", { width: 10, height: 10, fill: "#ffffff" }), shape("rect", { width: 7, height: 10, fill: INK.forced }));
  return pattern;
}
