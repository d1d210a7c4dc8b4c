// How a step was picked, in its bars and in a sentence above them. Knows no server.

import { howPicked } from "../core/how_picked.js";
import { percent } from "../core/numbers.js";
import { texts } from "../core/texts.js";
import { make } from "./elements.js";

/** @import { Row } from "../core/bar_rows.js" */
/** @import { Run, Step } from "../core/run.js" */

/**
 * The share in what was drawn from as a thin bar below the model's own; and what was cut, struck out.
 * @param {any} line
 * @param {Row} row
 */
export function addShare(line, row) {
  if (row.share === null || row.share === undefined) return;
  line.classList.add("gs-shared");
  line.classList.toggle("gs-cut", row.share === 0);
  line.style.setProperty("--share", row.share);
  line.querySelector(".gs-bar-track").after(make("span", "gs-bar-share"));
  const sentence = row.share === 0 ? texts.translate("drawn.cut") : texts.translate("drawn.share", { share: percent(row.share) });
  line.querySelector(".gs-bar-value").append(" ", make("span", "gs-share-value", sentence));
}

/**
 * @param {HTMLElement} root
 * @param {Run} run
 * @param {Step | undefined} step
 */
export function drawPickNote(root, run, step) {
  const words = root.querySelector(".gs-how-picked");
  const keyAndValues = step ? howPicked(run, step) : null;
  words.hidden = !keyAndValues;
  if (!keyAndValues) return;
  texts.write(words, ...keyAndValues);
  words.title = words.textContent;
}
