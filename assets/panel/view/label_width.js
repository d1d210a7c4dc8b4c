// How wide the labels of bars are, found without laying them out: the bars have just been replaced, or are out of sight. Knows their fonts, as
// in panel.css, and no list.

import { labelParts } from "../core/tokens.js";
import { rem } from "./elements.js";

/** @import { Row } from "../core/bar_rows.js" */

const SMALL = 0.72; // of a label's size, what "gs-adds" has
const canvas = document.createElement("canvas").getContext("2d");

/**
 * @param {HTMLElement} host
 * @param {Row[]} rows
 * @returns {number} pixels
 */
export function widestLabel(host, rows) {
  const style = getComputedStyle(host);
  const size = parseFloat(style.getPropertyValue("--gs-body")) * rem();
  const mono = style.getPropertyValue("--gs-mono");
  return Math.max(0, ...rows.map((row) => {
    if (!row.token) return pixelsOf(row.label, `italic ${size}px ${style.fontFamily}`);
    const weight = row.kind === "other" ? 400 : 700;
    const [text, bytes] = labelParts(row.token);
    return pixelsOf((row.mark ?? "") + text, `${weight} ${size}px ${mono}`) + (bytes ? pixelsOf(bytes, `400 ${size * SMALL}px ${mono}`) : 0);
  }));
}

/**
 * @param {string} text
 * @param {string} font
 * @returns {number}
 */
function pixelsOf(text, font) {
  if (!canvas) return 0;
  canvas.font = font;
  return canvas.measureText(text).width;
}
