// The chosen step's candidates: Plotly draws the bars, and a list of buttons over them carries labels and numbers. So the labels
// are text that nothing interprets, each can be reached by keyboard and screen reader, and Plotly has little to draw again at each
// step. The list draws plain bars itself before plotly.js is there, and while text streams in: a drawing by Plotly takes ten times as
// long, and the model waits for it where both share a machine. Then Plotly draws its axis alone.

import { rowsOf } from "../core/bar_rows.js";
import { percent } from "../core/numbers.js";
import { texts } from "../core/texts.js";
import { addShare } from "./draw_note.js";
import { label, make, rem } from "./elements.js";

/** @import { Row } from "../core/bar_rows.js" */
/** @import { Step } from "../core/run.js" */
/** @import { Parts } from "./parts.js" */

const AXIS_REM = 1.75;
const LABEL_GAP = 8; // pixels, as in panel.css: with more, each drawing would find its labels too narrow for their column

// A chart of many bars takes Plotly longer than a key that is held down gives it: it is drawn when the reader rests at a step.
const MANY_ROWS = 20;
const REST_MILLISECONDS = 150;

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
  const said = texts.translate(isZoomed ? "axis.zoomed" : "axis.whole", { end: `${axis.most * 100}` });
  if (axis.word.textContent !== said) axis.word.textContent = said;
}

/**
 * @param {Parts} parts
 * @param {Step} step
 * @param {boolean} streaming
 * @param {object} of
 */
export function drawBars(parts, step, streaming, of) {
  const rows = rowsOf(step);
  fitAxis(parts, rows);
  if (parts.chart.clientWidth) parts.root.classList.toggle("gs-narrow", parts.chart.clientWidth < 30 * rem());
  // A button that is replaced under a pointer is not clicked, so the list is only replaced when it changes.
  if (parts.listed !== step) {
    const focused = candidateButtons(parts).indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    parts.bars.replaceChildren(...rows.map(listRow));
    candidateButtons(parts)[focused]?.focus();
    parts.listed = step;
  }
  fitLabels(parts.chart, parts.bars, of);
  clearTimeout(parts.resting);
  if (!window.Plotly || !parts.chart.clientWidth) return; // what is hidden has no width to draw for
  const { layout } = parts.plot;
  const axisFits = layout?.height === plotHeight(rows) && layout.width === parts.chart.clientWidth && layout.margin.l === leftOf(parts) && layout.xaxis.range[1] === parts.axis.most * 100;
  // The same step in the same colours and size is drawn already.
  const looks = [parts.chart.clientWidth, plotHeight(rows), leftOf(parts), parts.axis.most, document.body.className, document.documentElement.className].join();
  const isDrawn = axisFits && parts.plotted?.step === step && parts.plotted.looks === looks;
  const isWaiting = !isDrawn && (streaming || rows.length > MANY_ROWS);
  parts.root.classList.toggle("gs-live", isWaiting);
  if (isDrawn) return;
  const plot = () => {
    parts.plotted = { step, looks };
    drawPlot(parts, rows);
    parts.root.classList.remove("gs-live");
  };
  if (!isWaiting) return plot();
  if (!axisFits) drawPlot(parts, rows, { isAxisAlone: true });
  if (!streaming) parts.resting = setTimeout(plot, REST_MILLISECONDS);
}

/**
 * The labels' column is as wide as the longest label that a run has shown so far, so that each is whole and the bars begin at one place;
 * up to half of the chart. A longer label ends in "…", and its title is whole.
 * @param {HTMLElement} host
 * @param {any} list
 * @param {object} of
 */
export function fitLabels(host, list, of) {
  const width = list.clientWidth;
  if (!width) return;
  const asked = [width, rem()].join();
  if (list.fitted?.of !== of || list.fitted.asked !== asked) {
    host.style.removeProperty("--gs-left");
    list.fitted = { of, asked, left: parseFloat(getComputedStyle(host).getPropertyValue("--gs-left")) * rem() };
  }
  const widest = Math.max(0, ...[...list.querySelectorAll(".gs-bar-label")].map((node) => node.scrollWidth + LABEL_GAP));
  const left = Math.min(widest, width / 2);
  if (left <= list.fitted.left + 1) return; // widths that are read are whole pixels
  list.fitted.left = left;
  host.style.setProperty("--gs-left", `${(left / rem()).toFixed(2)}rem`);
}

/**
 * @param {Row[]} rows
 * @returns {number}
 */
function plotHeight(rows) {
  const row = parseFloat(getComputedStyle(document.querySelector(".gs")).getPropertyValue("--gs-row"));
  return Math.round((rows.length * row + AXIS_REM) * rem());
}

/**
 * @param {Parts} parts
 * @returns {number}
 */
function leftOf(parts) {
  return parseFloat(getComputedStyle(parts.chart).getPropertyValue("--gs-left")) * rem();
}

/**
 * @param {Parts} parts
 * @returns {HTMLButtonElement[]}
 */
export function candidateButtons(parts) {
  return [...parts.bars.querySelectorAll("button")];
}

/**
 * @param {Row} row
 * @returns {HTMLLIElement}
 */
function listRow(row) {
  const item = make("li", "");
  const line = make(row.kind === "rest" ? "div" : "button", `gs-bar gs-${row.kind}`);
  if (line instanceof HTMLButtonElement) {
    line.type = "button";
    line.dataset.candidate = String(row.tokenId);
    line.disabled = Number(row.tokenId) < 0;
    line.title = line.disabled ? "" : texts.translate("bars.ask");
  }
  line.style.setProperty("--p", String(row.probability));
  if (!line.title) line.title = row.label;
  const value = make("span", "gs-bar-value", `${percent(row.probability)} `);
  value.append(make("span", "gs-id", row.id));
  line.append(rowLabel(row), make("span", "gs-bar-track"), value);
  addShare(line, row);
  item.append(line);
  return item;
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
 * @param {{ isAxisAlone?: boolean }} [options]
 */
function drawPlot(parts, rows, { isAxisAlone = false } = {}) {
  const narrow = parts.chart.clientWidth < 30 * rem();
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
    width: parts.chart.clientWidth,
    height: plotHeight(rows),
    margin: { l: leftOf(parts), r: parseFloat(read("--gs-right")) * rem(), t: 0, b: AXIS_REM * rem() },
    bargap: 0.28,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: style.fontFamily, size: 0.75 * rem(), color: read("--gs-text") },
    xaxis: { range: [0, most], fixedrange: true, ticksuffix: " %", dtick: most / (narrow ? 2 : 4), gridcolor: read("--gs-line"), zeroline: false },
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
function unclip(plot) {
  for (const clipped of plot.querySelectorAll("[clip-path]")) clipped.removeAttribute("clip-path");
}
