// The chosen step's candidates: Plotly draws the bars, and a list of buttons over them carries labels and numbers. So the labels
// are text that nothing interprets, each can be reached by keyboard and screen reader, and Plotly has little to draw again at each
// step. The list draws plain bars itself before plotly.js is there, while text streams in, and of many candidates: a drawing by Plotly
// takes ten times as long, and the model waits for it where both share a machine. Then Plotly draws its axis alone.
// Sizes are read before anything is written: the browser would lay out what was written for each of them.
// While steps stream in, only the lines in sight are rewritten, and the others once they are scrolled to or the run rests.

import { rowsOf } from "../core/bar_rows.js";
import { percent } from "../core/numbers.js";
import { texts } from "../core/texts.js";
import { addShare } from "./pick_note.js";
import { label, make, rem, rewrite } from "./elements.js";
import { widestLabel } from "./label_width.js";
import { setTabStop } from "./tab_stop.js";

/** @import { Row } from "../core/bar_rows.js" */
/** @import { Step } from "../core/run.js" */
/** @import { Parts } from "./panel_elements.js" */

const AXIS_REM = 1.75;
const LABEL_GAP = 8; // pixels, as in panel.css: with more, each drawing would find its labels too narrow for their column

// A chart of more bars takes Plotly longer than a step may take.
const MOST_PLOTTED = 20;

// The axis ends at 100 %, or where it was zoomed at a round share that holds the largest candidate.
const AXIS_ENDS = [0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];

/**
 * @param {Parts} parts
 * @param {Row[]} rows
 */
function fitAxis(parts, rows) {
  const { axis } = parts;
  const largest = Math.max(...rows.filter(({ kind }) => kind !== "rest").map(({ probability }) => probability));
  const isZoomed = axis.zoom.getAttribute("aria-pressed") === "true";
  const most = isZoomed ? (AXIS_ENDS.findLast((end) => end >= largest) ?? 1) : 1;
  if (most !== axis.most) parts.chart.style.setProperty("--zoom", 1 / most); // the browser styles all that is within anew
  axis.most = most;
  parts.root.classList.toggle("gs-zoomed", axis.most < 1);
  const sentence = texts.translate(isZoomed ? "axis.zoomed" : "axis.whole", { end: `${axis.most * 100}` });
  if (axis.word.textContent !== sentence) axis.word.textContent = sentence;
}

/**
 * @param {Parts} parts
 * @param {Step} step
 * @param {boolean} streaming
 */
export function drawBars(parts, step, streaming) {
  const rows = rowsOf(step);
  const size = sizeOf(parts, rows, streaming ? [] : rows);
  fitAxis(parts, rows);
  listRows(parts, step, rows, streaming ? size.inSight : [0, rows.length]);
  markTabStop(parts);
  if (!window.Plotly || !size.width) return; // what is hidden has no width to draw for
  const isLive = streaming || rows.length > MOST_PLOTTED;
  parts.root.classList.toggle("gs-live", isLive);
  // The same bars in the same colours and size are drawn already; while the list draws them, the axis alone counts.
  const looks = [size.width, size.height, size.left, parts.axis.most, document.body.className, document.documentElement.className].join();
  const isDrawn = parts.plotted?.looks === looks && (isLive || parts.plotted.step === step);
  if (isDrawn) return;
  clearTimeout(parts.plotted?.timer);
  const draw = () => drawPlot(parts, rows, size, { isAxisAlone: isLive });
  parts.plotted = { step: isLive ? null : step, looks, timer: isLive ? setTimeout(draw) : 0 }; // the axis in a task of its own
  if (!isLive) draw();
}

/**
 * In pixels.
 * @param {Parts} parts
 * @param {Row[]} rows
 * @param {Row[]} fitted whose labels are to be whole: none while a run grows, and nothing moves sideways
 */
function sizeOf(parts, rows, fitted) {
  const width = parts.chart.clientWidth;
  const isNarrow = width < 30 * rem();
  if (width) parts.root.classList.toggle("gs-narrow", isNarrow);
  fitLabels(parts.chart, parts.bars, fitted);
  const row = parseFloat(getComputedStyle(parts.root).getPropertyValue("--gs-row")) * rem();
  const { scrollTop, clientHeight } = parts.chart;
  const inSight = [Math.floor(scrollTop / row), Math.ceil((scrollTop + clientHeight) / row)];
  return { width, isNarrow, inSight, left: parts.bars.fitted?.left ?? 0, height: Math.round(rows.length * row + AXIS_REM * rem()) };
}

/**
 * The labels' column is as wide as the longest label that it has shown so far, so that each is whole and the bars begin at one place;
 * up to half of the chart. A longer label ends in "…", and its title is whole.
 * @param {HTMLElement} host
 * @param {any} list
 * @param {Row[]} rows
 */
export function fitLabels(host, list, rows) {
  const width = list.clientWidth;
  if (!width) return;
  const asked = [width, rem()].join();
  if (list.fitted?.asked !== asked) {
    host.style.removeProperty("--gs-left");
    list.fitted = { asked, least: parseFloat(getComputedStyle(host).getPropertyValue("--gs-left")) }; // in rem
  }
  const { fitted } = list;
  const before = fitted.rem ?? fitted.least;
  const needed = Math.min(Math.ceil(widestLabel(host, rows)) + LABEL_GAP, width / 2);
  const now = needed > before * rem() + 1 ? Number((needed / rem()).toFixed(2)) : before;
  if (now !== fitted.rem) host.style.setProperty("--gs-left", `${now}rem`);
  Object.assign(fitted, { rem: now, left: now * rem() });
}

/**
 * @param {Parts} parts
 * @returns {HTMLButtonElement[]}
 */
export function candidateButtons(parts) {
  return [...parts.bars.querySelectorAll("button")];
}

/**
 * One bar is a stop of the Tab key, and the arrows go on from it: the one that has the keyboard, or the first.
 * @param {Parts} parts
 */
export function markTabStop(parts) {
  const buttons = candidateButtons(parts);
  setTabStop(parts.bars, buttons.find((button) => button === document.activeElement) ?? buttons.find(({ disabled }) => !disabled));
}

/**
 * Before a run's first step there are no bars to see, and what is hidden loses the keyboard's focus: the bar of the same place gets it back,
 * unless the reader has gone elsewhere meanwhile.
 * @param {Parts} parts
 * @param {boolean} areHidden
 */
export function hideBars(parts, areHidden) {
  const { root, bars } = parts;
  const buttons = candidateButtons(parts);
  const place = buttons.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
  if (areHidden && place >= 0) bars.left = place;
  root.classList.toggle("gs-empty", areHidden);
  if (areHidden) return;
  if (document.activeElement === document.body) buttons[bars.left]?.focus({ preventScroll: true });
  bars.left = undefined;
}

/**
 * A line that is there is rewritten and not replaced: so it is clicked, and keeps the keyboard, while steps go by.
 * @param {Parts} parts
 * @param {Step} step
 * @param {Row[]} rows
 * @param {number[]} wanted the first row that is needed, and the one after the last; a row that has no line yet gets one
 */
function listRows({ bars, listed }, step, rows, [first, end]) {
  while (bars.children.length > rows.length) bars.lastElementChild?.remove();
  for (const [place, row] of rows.entries()) {
    const line = bars.children[place];
    if (line && (listed[place] === step || place < first || place >= end)) continue;
    const item = make("li", "");
    item.append(lineOf(row, step.index));
    if (line) rewrite(line, item); // nor is a fork asked for any more
    else bars.append(item);
    listed[place] = step;
  }
  listed.length = rows.length;
}

/**
 * @param {Row} row
 * @param {number} at the index of its step: a click forks this one, even where another was chosen and is not drawn yet
 * @returns {HTMLElement}
 */
function lineOf(row, at) {
  const line = make(row.kind === "rest" ? "div" : "button", `gs-bar gs-${row.kind}`);
  line.title = row.label;
  if (line instanceof HTMLButtonElement) {
    line.type = "button";
    line.tabIndex = -1; // one of them is a stop of the Tab key: markTabStop
    Object.assign(line.dataset, { candidate: row.tokenId, at });
    line.disabled = Number(row.tokenId) < 0;
    if (!line.disabled) line.title = texts.translate("bars.ask");
  }
  const [track, value] = [make("span", "gs-bar-track"), make("span", "gs-bar-value", `${percent(row.probability)} `)];
  value.append(make("span", "gs-id", row.id));
  for (const part of [track, value]) part.style.setProperty("--p", String(row.probability)); // on the line, all within would be styled anew
  line.append(rowLabel(row), track, value);
  addShare(line, row);
  return line;
}

/**
 * @param {Row} row
 * @returns {HTMLElement}
 */
export function rowLabel(row) {
  return row.token ? label(row.token, "gs-bar-label", row.mark) : Object.assign(make("span", "gs-bar-label", row.label), { translate: true });
}

/**
 * @param {Parts} parts
 * @param {Row[]} rows
 * @param {ReturnType<typeof sizeOf>} size
 * @param {{ isAxisAlone: boolean }} options
 */
function drawPlot(parts, rows, size, { isAxisAlone }) {
  const most = parts.axis.most * 100;
  parts.root.classList.add("gs-plotted");
  const style = getComputedStyle(parts.chart);
  /** @type {(name: string) => string} */
  const read = (name) => style.getPropertyValue(name).trim();
  const colours = { argmax: read("--gs-accent"), forced: read("--gs-forced"), other: read("--gs-other"), rest: read("--gs-rest") };
  const trace = {
    type: "bar",
    orientation: "h",
    x: isAxisAlone ? [] : rows.map((row) => (row.probability * 100 > most ? 0 : row.probability * 100)), // the list draws what goes beyond the axis
    y: isAxisAlone ? [] : rows.map((_, place) => place),
    // No pattern: Plotly names it by the page's address, which changes with the run. The list hatches "everything else".
    marker: { color: rows.map((row) => colours[row.kind]) },
    hoverinfo: "skip",
  };
  // The size is always given: Plotly's own resizing measures an element whose height is Plotly's own.
  const layout = {
    width: size.width,
    height: size.height,
    margin: { l: size.left, r: parseFloat(read("--gs-right")) * rem(), t: 0, b: AXIS_REM * rem() },
    bargap: 0.28,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: style.fontFamily, size: 0.75 * rem(), color: read("--gs-text") },
    xaxis: { range: [0, most], fixedrange: true, ticksuffix: " %", dtick: most / (size.isNarrow ? 2 : 4), gridcolor: read("--gs-line"), zeroline: false },
    yaxis: { range: [rows.length - 0.5, -0.5], fixedrange: true, showticklabels: false, showgrid: false, zeroline: false },
    showlegend: false,
  };
  window.Plotly.react(parts.plot, [trace], layout, { displayModeBar: false, staticPlot: true }).then(() => unclip(parts.plot));
}

/**
 * Plotly names what clips the bars by the page's address. Once that changes, as it does with each run, Chrome takes the clip for
 * another document's, and fetches the whole page for it in the middle of the run. Bars on a fixed axis need none.
 * @param {HTMLElement} plot
 */
export function unclip(plot) {
  for (const clipped of plot.querySelectorAll("[clip-path]")) clipped.removeAttribute("clip-path");
}
