// The table as a heat map: a column a step, a row a rank, the darker the more probable. One canvas, however large the run is; the same
// numbers are in the table, for readers who cannot see it. Knows records and labels, not how a step is chosen.

import { percent } from "../core/numbers.js";
import { slotsOf } from "../core/run.js";
import { texts } from "../core/texts.js";
import { labelOf } from "../core/tokens.js";
import { isolate } from "../core/visible.js";

/** @import { Candidate, Run, Step } from "../core/run.js" */
/** @import { Panel } from "../core/state.js" */
/** @import { Parts } from "../view/panel_elements.js" */

/** @typedef {{ columns: number, rows: number, wide: number, high: number }} Sizes of the map, and of a cell in pixels */
/** @typedef {{ sans: string, mono: string }} Fonts */

const CELL_WIDTH = [4, 88]; // pixels, least and most
const CELL_HEIGHT = [7, 26];
const MAP_HEIGHT = 360;
const MAP_LEFT = 28;
const MAP_BOTTOM = 22;

// A share of 1 % would be white on a straight scale, and much of what is to be seen is of that size.
/** @type {(probability: number) => number} */
export const shadeOf = (probability) => Math.sqrt(probability);

/**
 * @param {HTMLElement & { readonly parentElement: HTMLElement }} map
 * @param {Run} run
 * @returns {Sizes}
 */
function heatmapSizes(map, run) {
  const [columns, rows] = [slotsOf(run), run.header.top_k];
  /** @type {(size: number, ends: number[]) => number} */
  const clamp = (size, [least, most]) => Math.max(least, Math.min(most, Math.floor(size)));
  return {
    columns, rows,
    wide: clamp((map.parentElement.clientWidth - MAP_LEFT) / columns, CELL_WIDTH),
    high: clamp((MAP_HEIGHT - MAP_BOTTOM) / rows, CELL_HEIGHT),
  };
}

/**
 * @param {Parts} parts
 * @param {Run} run
 * @param {number} chosen
 */
export function drawHeatmap(parts, run, chosen) {
  const { map } = parts;
  if (!map.parentElement.clientWidth) return;
  const sizes = heatmapSizes(map, run);
  const drawn = [Object.values(sizes), run.steps.length, chosen, texts.language(), document.body.className, document.documentElement.className, devicePixelRatio].join();
  if (map.run === run && map.drawn === drawn) return;
  if (map.language !== texts.language()) texts.write(parts.root.querySelector(".gs-map-status"), "map.lead");
  Object.assign(map, { run, drawn, sizes, language: texts.language() });
  const [width, height] = [MAP_LEFT + sizes.columns * sizes.wide, sizes.rows * sizes.high + MAP_BOTTOM];
  Object.assign(map, { width: width * devicePixelRatio, height: height * devicePixelRatio });
  Object.assign(map.style, { width: `${width}px`, height: `${height}px` });
  const pen = map.getContext("2d");
  pen.scale(devicePixelRatio, devicePixelRatio);
  const style = getComputedStyle(parts.root);
  const colours = Object.fromEntries(["accent", "forced", "text", "muted", "surface"].map((name) => [name, style.getPropertyValue(`--gs-${name}`).trim()]));
  const fonts = { sans: `11px ${style.fontFamily}`, mono: `12px ${style.getPropertyValue("--gs-mono")}` };
  for (const step of run.steps) drawColumn(pen, step, sizes, colours, fonts);
  drawScales(pen, sizes, colours, fonts);
  if (chosen < 0) return;
  pen.strokeStyle = colours.accent;
  pen.lineWidth = 3;
  pen.strokeRect(MAP_LEFT + chosen * sizes.wide, 1, sizes.wide, sizes.rows * sizes.high - 1);
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {Step} step
 * @param {Sizes} sizes
 * @param {Record<string, string>} colours
 * @param {Fonts} fonts
 */
function drawColumn(pen, step, { wide, high }, colours, fonts) {
  const x = MAP_LEFT + step.index * wide;
  for (const { rank, probability } of step.candidates) {
    pen.globalAlpha = shadeOf(probability);
    pen.fillStyle = colours.accent;
    pen.fillRect(x, rank * high, wide - 1, high - 1);
  }
  pen.globalAlpha = 1;
  if (step.forced && step.picked.rank < step.candidates.length) {
    pen.strokeStyle = colours.forced;
    pen.lineWidth = 2;
    pen.strokeRect(x + 1, step.picked.rank * high + 1, wide - 3, high - 3);
  }
  if (wide < 40 || high < 16) return;
  pen.font = fonts.mono;
  pen.textBaseline = "middle";
  pen.textAlign = "left";
  for (const candidate of step.candidates) {
    pen.save();
    pen.beginPath();
    pen.rect(x, candidate.rank * high, wide - 2, high);
    pen.clip();
    pen.fillStyle = shadeOf(candidate.probability) > 0.55 ? colours.surface : colours.text;
    pen.fillText(isolate(labelOf(candidate).slice(0, 24)), x + 3, candidate.rank * high + high / 2);
    pen.restore();
  }
}

/**
 * Ranks at the left, steps below: as many as there is room for.
 * @param {CanvasRenderingContext2D} pen
 * @param {Sizes} sizes
 * @param {Record<string, string>} colours
 * @param {Fonts} fonts
 */
function drawScales(pen, { columns, rows, wide, high }, colours, fonts) {
  pen.font = fonts.sans;
  pen.fillStyle = colours.muted;
  pen.textBaseline = "middle";
  pen.textAlign = "right";
  /** @type {(size: number, room: number) => number} */
  const interval = (size, room) => [1, 2, 5, 10, 20, 50, 100].find((count) => count * size >= room) ?? 100;
  /** @type {(n: number, count: number) => boolean} */
  const isShown = (n, count) => n === 1 || n % count === 0;
  for (let n = 1; n <= rows; n++) if (isShown(n, interval(high, 14))) pen.fillText(String(n), MAP_LEFT - 5, (n - 0.5) * high);
  pen.textAlign = "center";
  for (let n = 1; n <= columns; n++) if (isShown(n, interval(wide, 28))) pen.fillText(String(n), MAP_LEFT + (n - 0.5) * wide, rows * high + MAP_BOTTOM / 2);
}

/**
 * @param {Parts} parts
 * @param {Panel} panel
 */
export function listenToHeatmap(parts, panel) {
  const { map } = parts;
  const box = map.closest(".gs-map-box");
  const cellSentence = parts.root.querySelector(".gs-map-status");
  parts.tableView.value = "table"; // a browser may remember another choice
  /** @type {(event: MouseEvent) => { step: Step, candidate?: Candidate } | { step: undefined, candidate: undefined }} */
  const cellAt = ({ offsetX, offsetY }) => {
    const step = map.run?.steps[Math.floor((offsetX - MAP_LEFT) / map.sizes.wide)];
    return { step, candidate: step?.candidates[Math.floor(offsetY / map.sizes.high)] };
  };
  map.addEventListener("click", (/** @type {MouseEvent} */ event) => {
    const { step } = cellAt(event);
    if (step) panel.choose(step.index);
  });
  map.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
    const { step, candidate } = cellAt(event);
    if (candidate) texts.write(cellSentence, "map.cell", { step: step.index + 1, rank: candidate.rank + 1, token: labelOf(candidate), probability: percent(candidate.probability) });
  });
  parts.tableView.addEventListener("change", () => {
    const isMap = parts.tableView.value === "map";
    box.hidden = !isMap;
    parts.table.closest(".gs-rows").hidden = isMap;
    cellSentence.hidden = !isMap;
    panel.schedule();
  });
}
