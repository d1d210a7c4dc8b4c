// The logit lens of a step: a table that is a heat map, a row a layer and a column a token, and a line a token. Each number stands in its
// cell, so nothing is told by a colour alone. Knows a run's records, and not how they were asked for.

import { percent } from "../core/numbers.js";
import { texts } from "../core/texts.js";
import { labelOf } from "../core/tokens.js";
import { isolate } from "../core/visible.js";
import { leadsFrom, probabilityOf } from "../core/why.js";
import { headCell, label, make } from "../view/elements.js";
import { showMessage } from "../view/messages.js";
import { shadeOf } from "./heatmap.js";

/** @import { Token } from "../core/tokens.js" */
/** @import { Lens, LensLayer } from "../core/why.js" */

const SHOWN_SHARE = 0.01; // what is less stands in the cell's title
const LINES = { width: 320, height: 72, edge: 4 };
const MOST_LINES = 5;
const NAME = { width: 0.16, height: 0.19 }; // of the picture

/** @param {Lens} lens */
function lensSentence(lens) {
  const from = leadsFrom(lens);
  const values = { token: labelOf(lens.tokens[0]), layer: from ?? 0, count: lens.layers.length - 1 };
  return texts.translate(from === null ? "why.lens.never" : "why.lens.leads", values);
}

/**
 * @param {Showing<Lens>} box
 * @param {Lens | null} lens
 * @param {unknown} refusal the message that says why there is no lens
 */
export function drawLens(box, lens, refusal) {
  const sentence = box.querySelector(".gs-lens-status");
  const [table, lines] = [box.querySelector("table"), box.querySelector(".gs-lens-lines")];
  for (const part of [table, lines, box.querySelector(".gs-lens-lead")]) part.toggleAttribute("hidden", !lens);
  if (!lens && refusal) showMessage(sentence, refusal);
  else if (!lens) texts.write(sentence, "why.lens.none");
  if (box.drawn === lens && box.language === texts.language()) return;
  Object.assign(box, { drawn: lens, language: texts.language() });
  if (!lens) return;
  sentence.textContent = lensSentence(lens);
  const head = make("tr", "");
  head.append(headCell(texts.translate("why.lens.layer"), "col"), headCell(texts.translate("why.lens.column"), "col"), ...lens.tokens.map((token) => headCell(isolate(labelOf(token)), "col")));
  table.tHead.replaceChildren(head);
  table.tBodies[0].replaceChildren(...lens.layers.map((layer, number) => layerRow(lens, layer, number)).reverse());
  drawLines(lines, lens);
}

/**
 * The last layer stands at the top: it is the step that one has just seen.
 * @param {Lens} lens
 * @param {LensLayer} layer
 * @param {number} number
 */
function layerRow({ tokens, layers }, { leader, logprobs, ranks }, number) {
  const row = make("tr", "");
  const pick = leader.token_id === tokens[0].token_id;
  const first = make("td", pick ? "gs-argmax" : "");
  first.append(label(leader), ` ${percent(leader.probability)}`);
  row.append(headCell(number ? String(number) : texts.translate("why.lens.embedding"), "row"), first);
  if (number === layers.length - 1) row.setAttribute("aria-current", "step");
  tokens.forEach((token, n) => {
    const share = probabilityOf(logprobs[n]);
    const cell = make("td", `gs-heat-cell${ranks[n] === 0 ? " gs-first" : ""}`, share >= SHOWN_SHARE ? `${Math.round(100 * share)} %` : "");
    cell.style.setProperty("--shade", String(shadeOf(share)));
    cell.title = texts.translate("why.lens.cell", { layer: number, token: labelOf(token), probability: percent(share), rank: ranks[n] + 1 });
    row.append(cell);
  });
  return row;
}

/**
 * The pick, and the tokens that become most probable anywhere.
 * @param {Element} picture
 * @param {Lens} lens
 */
function drawLines(picture, { tokens, layers }) {
  const [svg, names] = picture.children;
  const most = tokens.map((_, n) => Math.max(...layers.map(({ logprobs }) => probabilityOf(logprobs[n]))));
  const others = tokens.map((_, n) => n).slice(1).toSorted((a, b) => most[b] - most[a]).slice(0, MOST_LINES - 1);
  const { width, height, edge } = LINES;
  const shown = [...others.toReversed(), 0];
  /** @type {(n: number) => [number, number][]} */
  const placesOf = (n) => layers.map(({ logprobs }, layer) => [
    edge + ((width - 2 * edge) * layer) / Math.max(1, layers.length - 1),
    height - edge - (height - 2 * edge) * probabilityOf(logprobs[n]),
  ]);
  svg.replaceChildren(...shown.map((n) => {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    line.setAttribute("points", placesOf(n).map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" "));
    line.classList.toggle("gs-pick", n === 0);
    return line;
  }));
  /** @type {{ left: number, top: number }[]} */
  const taken = [];
  names.replaceChildren(...[0, ...others].map((n) => nameAt(tokens[n], placesOf(n), n === 0, taken)));
  svg.setAttribute("aria-label", texts.translate("why.lens.lines"));
}

/**
 * A line's name stands where it is highest, or below another's; the table has all of it in words.
 * @param {Token} token
 * @param {[number, number][]} places of the line's points
 * @param {boolean} isPick
 * @param {{ left: number, top: number }[]} taken by other names
 */
function nameAt(token, places, isPick, taken) {
  const name = make("span", isPick ? "gs-pick" : "", isolate(labelOf(token)));
  const [x, y] = places.reduce((highest, place) => (place[1] < highest[1] ? place : highest));
  const { width, height } = LINES;
  const left = x / width; // of the box, and of the name: so it is within
  let top = Math.min(0.6, y / height);
  while (taken.some((other) => Math.abs(other.left - left) < NAME.width && Math.abs(other.top - top) < NAME.height)) top += NAME.height;
  taken.push({ left, top });
  name.style.setProperty("--at", String(left));
  name.style.setProperty("top", `${top * 100}%`);
  return name;
}
