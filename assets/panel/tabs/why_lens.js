// The logit lens of a step: its picture (lens_picture.js), and a table of all numbers, a row a layer and a column a token. Each number stands
// in its cell, so nothing is told by a colour alone; where there is no picture, the table is open. Knows a run's records, and not how they
// were asked for.

import { percent } from "../core/numbers.js";
import { texts } from "../core/texts.js";
import { labelOf } from "../core/tokens.js";
import { isolate } from "../core/visible.js";
import { leadsFrom, probabilityOf } from "../core/why.js";
import { headCell, label, make } from "../view/elements.js";
import { showMessage } from "../view/messages.js";
import { shadeOf } from "./heatmap.js";

/** @import { Lens, LensLayer } from "../core/why.js" */

/** @param {Lens} lens */
function lensSentence(lens) {
  const from = leadsFrom(lens);
  const count = lens.layers.length - 1;
  const { leader } = lens.layers[count];
  const values = { token: labelOf(lens.tokens[0]), layer: from ?? 0, count, other: labelOf(leader), probability: percent(leader.probability) };
  return texts.translate(from === null ? "why.lens.never" : "why.lens.leads", values);
}

/**
 * @param {Lens} lens
 * @param {number} layer
 * @param {number} n the place of a token
 */
export function cellValues({ tokens, layers }, layer, n) {
  const { logprobs, ranks } = layers[layer];
  return { layer: layer || texts.translate("why.lens.embedding"), token: labelOf(tokens[n]), probability: percent(probabilityOf(logprobs[n])), rank: ranks[n] + 1 };
}

/**
 * @param {Showing<Lens>} box
 * @param {Lens | null} lens
 * @param {unknown} refusal the message that says why there is no lens
 * @param {string} reason why there is none yet, as the key of a sentence; "" while it is being made
 * @param {(box: HTMLElement, lens: Lens) => boolean} [drawPicture] where plotly.js may come; false where it is not there
 */
export function drawLens(box, lens, refusal, reason, drawPicture) {
  const [sentence, numbers] = [box.querySelector(".gs-lens-status"), box.querySelector(".gs-lens-numbers")];
  for (const part of [numbers, box.querySelector(".gs-lens-lead")]) part.hidden = !lens;
  if (!lens && refusal) showMessage(sentence, refusal);
  else if (!lens) texts.write(sentence, reason);
  const isDrawn = Boolean(lens && drawPicture?.(box, lens));
  for (const name of ["picture", "point"]) box.querySelector(`.gs-lens-${name}`).hidden = !isDrawn;
  if (lens && numbers.isBesidePicture !== isDrawn) Object.assign(numbers, { isBesidePicture: isDrawn, open: !isDrawn }); // until a reader opens it
  if (box.drawn === lens && box.language === texts.language()) return;
  Object.assign(box, { drawn: lens, language: texts.language() });
  if (!lens) return;
  sentence.textContent = lensSentence(lens);
  const table = numbers.querySelector("table");
  const head = make("tr", "");
  head.append(headCell(texts.translate("why.lens.layer"), "col"), headCell(texts.translate("why.lens.column"), "col"), ...lens.tokens.map((token) => headCell(isolate(labelOf(token)), "col")));
  table.tHead.replaceChildren(head);
  table.tBodies[0].replaceChildren(...lens.layers.map((layer, number) => layerRow(lens, layer, number)).reverse());
}

/**
 * The last layer stands at the top: it is the step that one has just seen.
 * @param {Lens} lens
 * @param {LensLayer} layer
 * @param {number} number
 */
function layerRow(lens, { leader, logprobs, ranks }, number) {
  const { tokens, layers } = lens;
  const row = make("tr", "");
  const pick = leader.token_id === tokens[0].token_id;
  const first = make("td", pick ? "gs-argmax" : "");
  first.append(label(leader), ` ${percent(leader.probability)}`);
  row.append(headCell(number ? String(number) : texts.translate("why.lens.embedding"), "row"), first);
  if (number === layers.length - 1) row.setAttribute("aria-current", "step");
  tokens.forEach((_, n) => {
    const share = probabilityOf(logprobs[n]);
    const cell = make("td", `gs-heat-cell${ranks[n] === 0 ? " gs-first" : ""}`, percent(share));
    cell.style.setProperty("--shade", String(shadeOf(share)));
    cell.title = texts.translate("why.lens.cell", cellValues(lens, number, n));
    row.append(cell);
  });
  return row;
}
