// The chosen step's bars as a picture of a slide's size: SVG, and PNG drawn from it. Made from the rows that the panel draws; every
// text is a text node, so nothing in it is markup. Light, whatever the page is: slides and paper are.

import { rowsOf } from "../core/bar_rows.js";
import { dtypeOf, exactness, stepTitle } from "../core/descriptions.js";
import { Refused } from "../core/too_large.js";
import { percent } from "../core/numbers.js";
import { textBefore } from "../core/run.js";
import { texts } from "../core/texts.js";
import { isRightToLeft, lettersOf, oneLine } from "../core/visible.js";

/** @import { Row } from "../core/bar_rows.js" */
/** @import { Run, Step } from "../core/run.js" */

export const SLIDE = { width: 1920, height: 1080, margin: 96 };
const CHART = { left: 560, right: 1560, top: 300, bottom: 890 };
export const INK = { text: "#1f2937", muted: "#586172", line: "#d5d9e0", argmax: "#1a5fd0", forced: "#b35900", other: "#9db8dd", rest: "#c9ced6" };
export const SANS = "system-ui, -apple-system, 'Segoe UI', 'Noto Sans', 'Noto Sans KR', 'Malgun Gothic', sans-serif";
export const MONO = "ui-monospace, 'SF Mono', Consolas, 'DejaVu Sans Mono', monospace";
export const SVG = "http://www.w3.org/2000/svg";
const pen = /** @type {CanvasRenderingContext2D} */ (document.createElement("canvas").getContext("2d"));

/**
 * @param {Run} run
 * @param {number} chosen
 * @returns {string}
 */
export function stepImage(run, chosen) {
  const { width, height, margin } = SLIDE;
  const step = run.steps[chosen];
  const root = shape("svg", { xmlns: SVG, viewBox: `0 0 ${width} ${height}`, width, height, role: "img" });
  const words = captionOf(run, chosen);
  root.append(shape("title", {}, words.join(" · ")), shape("rect", { width, height, fill: "#ffffff" }), hatching());
  root.append(textLine(fitText(stepTitle(run, chosen), 56, SANS, width - 2 * margin, "600"), margin, 118, 56, { weight: "600" }));
  const before = oneLine(textBefore(run, chosen));
  const direction = isRightToLeft(before) ? "rtl" : "ltr";
  for (const [n, text] of lastLines(before, 36, width - 2 * margin).entries()) {
    root.append(textLine(text, direction === "rtl" ? width - margin : margin, 190 + 48 * n, 36, { fill: INK.muted, direction }));
  }
  root.append(...axis(), ...rowsOf(step).flatMap(barOf));
  for (const [n, text] of words.entries()) {
    root.append(textLine(fitText(text, 28, SANS, width - 2 * margin), margin, 990 + 42 * n, 28, { fill: INK.muted }));
  }
  return new XMLSerializer().serializeToString(root);
}

/**
 * The text's key that names the marks of a step in its picture.
 * @param {Step} step
 * @returns {string}
 */
function keyOfMarks(step) {
  if (step.draw) return "picture.drawn";
  if (step.past_end) return "picture.end";
  return step.forced ? "picture.forced" : "picture.argmax";
}

/**
 * @param {Run} run
 * @param {number} chosen
 * @returns {string[]}
 */
function captionOf(run, chosen) {
  const { prompt, model } = run.header;
  const exact = model.dtype === "float32" ? exactness(model) : "";
  const marks = texts.translate(keyOfMarks(run.steps[chosen]));
  const step = texts.translate("picture.step", { step: chosen + 1, steps: run.steps.length });
  return [
    prompt === "" ? texts.translate("picture.empty") : texts.translate("picture.prompt", { prompt: oneLine(prompt) }),
    [step, [model.id, dtypeOf(model), exact].filter(Boolean).join(", "), marks, "Greedyscope"].join(" · "),
  ];
}

function axis() {
  const { left, right, top, bottom } = CHART;
  return [0, 25, 50, 75, 100].flatMap((share) => {
    const x = left + ((right - left) * share) / 100;
    return [
      shape("line", { x1: x, x2: x, y1: top, y2: bottom, stroke: INK.line, "stroke-width": 2 }),
      textLine(`${share} %`, x, bottom + 38, 26, { anchor: "middle", fill: INK.muted }),
    ];
  });
}

/**
 * @param {Row} row
 * @param {number} place
 * @param {Row[]} rows
 */
function barOf(row, place, rows) {
  const { left, right, top, bottom } = CHART;
  const slot = Math.min(96, (bottom - top) / rows.length);
  const size = Math.min(38, slot * 0.62);
  const [y, high] = [top + slot * place, slot * 0.72];
  const long = (right - left) * row.probability;
  const bold = row.kind === "argmax" || row.kind === "forced" ? "700" : "400";
  const base = y + slot / 2 + size * 0.35;
  const fill = row.kind === "rest" ? "url(#hatching)" : INK[row.kind];
  const family = row.kind === "rest" ? SANS : MONO;
  const value = [percent(row.probability), row.id && texts.translate("picture.id", { id: row.id })].filter(Boolean).join("  ");
  return [
    shape("rect", { x: left, y: y + (slot - high) / 2, width: long, height: high, fill }),
    textLine(fitText(row.label, size, family, left - SLIDE.margin - 20, bold), left - 20, base, size, { anchor: "end", family, weight: bold }),
    shape("rect", { x: left + long + 8, y: y + 2, width: widthOf(value, size * 0.85, SANS) + 16, height: slot - 4, fill: "#ffffff" }), // no line of the axis goes through it
    textLine(value, left + long + 16, base, size * 0.85, {}),
  ];
}

// "Everything else" differs by its hatching too, never by colour alone.
function hatching() {
  const pattern = shape("pattern", { id: "hatching", width: 12, height: 12, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
  pattern.append(shape("rect", { width: 12, height: 12, fill: INK.rest }), shape("rect", { width: 2, height: 12, fill: INK.muted }));
  return pattern;
}

/**
 * @param {string} name
 * @param {Record<string, string | number>} attributes
 * @param {string} [text]
 * @returns {SVGElement}
 */
export function shape(name, attributes, text = "") {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) if (key !== "xmlns") node.setAttribute(key, String(value));
  if (text) node.append(text);
  return node;
}

/**
 * @param {string} text
 * @param {number} x
 * @param {number} y
 * @param {number} size
 * @param {{ anchor?: string, family?: string, weight?: string, fill?: string, direction?: string }} style
 */
export function textLine(text, x, y, size, { anchor = "start", family = SANS, weight = "400", fill = INK.text, direction = "ltr" }) {
  const font = { "font-size": size, "font-family": family, "font-weight": weight };
  const node = shape("text", { x, y, "text-anchor": anchor, fill, direction, ...font }, text);
  Object.assign(node.style, { whiteSpace: "pre", unicodeBidi: "isolate" }); // Firefox empties a "style" attribute on the static site
  return node;
}

/**
 * @param {string} text
 * @param {number} size
 * @param {string} family
 * @param {string} [weight]
 */
function widthOf(text, size, family, weight = "400") {
  pen.font = `${weight} ${size}px ${family}`;
  return pen.measureText(text).width;
}

/**
 * The text, or as much of its beginning as there is room for. By whole letters: half an emoji is no text.
 * @param {string} text
 * @param {number} size
 * @param {string} family
 * @param {number} room
 * @param {string} [weight]
 * @returns {string}
 */
export function fitText(text, size, family, room, weight = "400") {
  if (widthOf(text, size, family, weight) <= room) return text;
  const letters = lettersOf(text.slice(0, 2000).toWellFormed());
  return `${letters.slice(0, largestCount(letters.length, (n) => widthOf(`${letters.slice(0, n).join("")}…`, size, family, weight) <= room)).join("")}…`;
}

/**
 * The last two lines of a text, broken at a space where there is one.
 * @param {string} text
 * @param {number} size
 * @param {number} room
 * @returns {string[]}
 */
function lastLines(text, size, room) {
  const letters = lettersOf(text.slice(-2000).toWellFormed());
  /** @type {(from: string[]) => number} */
  const fittingCount = (from) => largestCount(from.length, (n) => widthOf(from.slice(from.length - n).join(""), size, SANS) <= room);
  const lines = [];
  let left = letters;
  while (left.length && lines.length < 2) {
    let count = fittingCount(left);
    const space = left.indexOf(" ", left.length - count);
    if (count < left.length && space >= 0) count = left.length - space - 1 || count;
    lines.unshift(left.slice(left.length - count).join(""));
    left = left.slice(0, left.length - count);
  }
  if (left.length || text.length > 2000) lines[0] = `… ${lines[0].trimStart()}`;
  return lines;
}

/**
 * The largest number up to `end` for which a thing holds that holds for all smaller ones; at least 1.
 * @param {number} end
 * @param {(count: number) => boolean} holds
 * @returns {number}
 */
function largestCount(end, holds) {
  let [low, high] = [1, Math.max(1, end)];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (holds(middle)) low = middle;
    else high = middle - 1;
  }
  return low;
}

/**
 * The picture, to be drawn on a canvas.
 * @param {string} svg
 * @returns {Promise<HTMLImageElement>}
 */
export async function imageOf(svg) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  await image.decode();
  return image;
}

/**
 * @param {string} svg
 * @returns {Promise<Blob>} refused where the browser has no room for it
 */
export async function pngOf(svg) {
  const image = await imageOf(svg).catch(() => null);
  const canvas = Object.assign(document.createElement("canvas"), { width: SLIDE.width, height: SLIDE.height });
  if (image) canvas.getContext("2d")?.drawImage(image, 0, 0);
  const made = image && (await new Promise((done) => { canvas.toBlob(done, "image/png"); }));
  if (!made) throw new Refused(texts.translate("keep.picture.failed"));
  return made;
}
