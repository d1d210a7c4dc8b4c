// The picture of a logit lens. Plotly draws a heat map, a row a token and a column a layer, and below it a line a token over the same layers.
// The tokens' names are a list of our own beside the rows, which is the legend of the lines too: Plotly would take a name for markup. A
// sentence below names what is pointed at. The table of why_lens.js has all of it for those who do not see it, or have no plotly.js.

import { percent } from "../core/numbers.js";
import { texts } from "../core/texts.js";
import { labelOf } from "../core/tokens.js";
import { isolate } from "../core/visible.js";
import { leadsFrom, probabilityOf } from "../core/why.js";
import { unclip } from "../view/bars.js";
import { label, make, rem, setText } from "../view/elements.js";
import { shadeOf } from "./heatmap.js";
import { cellValues } from "./why_lens.js";

/** @import { Lens } from "../core/why.js" */

/** @typedef {ReturnType<typeof pictureSizes>} Sizes in pixels */
/** @typedef {{ lens: Lens, shown: number[], sizes: Sizes, pointedAt: string }} Drawn what a picture shows, and where it was pointed at last */

const MOST_ROWS = 12; // the table has every token
const SHARES = { least: -4, most: 104 }; // percent on the lines' axis: a heavy line at 0 or 100 is whole
const REM = { row: 1.25, gap: 1.25, lines: 6.5, axis: 1.5, right: 1.5, least: 3.25 };

// Each has a contrast of 3 to 1 to every surface that it stands on, light and dark, and is far from the others and from the pick's blue for a colour-blind reader
// too. No two of the same colour have the same dashes; the pick's line alone is not broken, and heavy.
const COLOURS = ["#fc6000", "#6c60a8", "#849c60", "#cc3024", "#8490a8", "#6c6c60"];
const DASHES = [[9, 4], [2, 3], [9, 4, 2, 4], [16, 5], [5, 3]];

export const forcedColours = matchMedia("(forced-colors: active)"); // Plotly knows none of them

/**
 * Draws what is not drawn yet.
 * @param {HTMLElement} box
 * @param {Lens} lens
 * @returns {boolean} false where there is no plotly.js, or it cannot have the reader's colours
 */
export function drawLensPicture(box, lens) {
  if (!window.Plotly || forcedColours.matches) return false;
  /** @type {HTMLElement & { looks?: string, lens?: Lens, drawn?: Drawn }} */
  const picture = box.querySelector(".gs-lens-picture");
  picture.hidden = false; // what is hidden has no size
  const looks = [picture.clientWidth, rem(), texts.language(), document.body.className, document.documentElement.className].join();
  if (!picture.clientWidth || (picture.lens === lens && picture.looks === looks)) return true;
  if (!picture.lens) listenToPointer(picture, box.querySelector(".gs-lens-point"));
  const shown = shownTokens(lens);
  const style = getComputedStyle(box);
  /** @type {(name: string) => string} */
  const read = (name) => style.getPropertyValue(`--gs-${name}`).trim();
  const colours = shown.map((n, row) => (n ? COLOURS[(row - 1) % COLOURS.length] : read("accent")));
  listNames(picture.querySelector("ol"), lens, shown, colours);
  const sizes = pictureSizes(picture, lens, shown.length);
  Object.assign(picture, { lens, looks, drawn: { lens, shown, sizes, pointedAt: "" } });
  picture.style.setProperty("--row", `${sizes.row}px`);
  for (const name of ["text", "accent", "surface", "tint"]) picture.style.setProperty(`--gs-${name}`, read(name)); // on paper too
  markLead(picture, lens, sizes);
  picture.querySelector(".gs-lens-column").hidden = true;
  const hidden = lens.tokens.length - shown.length;
  setText(box.querySelector(".gs-lens-point"), `${texts.translate("why.lens.point")} ${hidden ? texts.translate("why.lens.more", { count: hidden }) : ""}`);
  const traces = [heatTrace(lens, shown, read("tint")), leaderTrace(lens, shown, read("text"), read("surface")), ...lineTraces(lens, shown, colours)];
  const layout = layoutOf(lens, sizes, { text: read("text"), line: read("line"), family: style.fontFamily });
  const plot = picture.querySelector(".gs-lens-plot");
  window.Plotly.react(plot, traces, layout, { displayModeBar: false, staticPlot: true }).then(() => unclip(plot));
  return true;
}

/**
 * The pick first; the others in the lens's order, those that become most probable anywhere where there are too many.
 * @param {Lens} lens
 * @returns {number[]} places
 */
function shownTokens({ tokens, layers }) {
  const most = tokens.map((_, n) => Math.max(...layers.map(({ logprobs }) => probabilityOf(logprobs[n]))));
  const others = tokens.map((_, n) => n).slice(1).toSorted((a, b) => most[b] - most[a]).slice(0, MOST_ROWS - 1);
  return [0, ...others.toSorted((a, b) => a - b)];
}

/**
 * @param {number} row
 * @returns {number[]} lengths of dashes and gaps in pixels; none of the pick's line
 */
const dashesOf = (row) => (row ? DASHES[(row - 1) % DASHES.length] : []);

/**
 * @param {Element} list
 * @param {Lens} lens
 * @param {number[]} shown
 * @param {string[]} colours
 */
function listNames(list, { tokens }, shown, colours) {
  list.replaceChildren(...shown.map((n, row) => {
    const item = make("li", n ? "" : "gs-pick");
    const swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const line = swatch.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "path"));
    swatch.setAttribute("aria-hidden", "true");
    line.setAttribute("d", "M0 6H24");
    line.style.stroke = colours[row];
    line.style.strokeDasharray = dashesOf(row).join(" ");
    const name = label(tokens[n], "gs-lens-name");
    name.title = isolate(labelOf(tokens[n]));
    item.append(name, swatch);
    return item;
  }));
}

/**
 * @param {Element} picture
 * @param {Lens} lens
 * @param {number} rows
 */
function pictureSizes(picture, { layers }, rows) {
  /** @type {(size: number) => number} */
  const pixels = (size) => Math.round(size * rem());
  const [row, gap, lines, axis, right] = [pixels(REM.row), pixels(REM.gap), pixels(REM.lines), pixels(REM.axis), pixels(REM.right)];
  const width = picture.clientWidth;
  const left = Math.max(pixels(REM.least), Math.ceil(picture.querySelector("ol").getBoundingClientRect().width));
  const heat = rows * row;
  return { width, left, right, row, heat, gap, lines, axis, height: heat + gap + lines + axis, column: (width - left - right) / layers.length };
}

/**
 * The layer from which on the pick leads, beside its line.
 * @param {Element} picture
 * @param {Lens} lens
 * @param {Sizes} sizes
 */
function markLead(picture, lens, { width, left, column, heat, gap }) {
  const mark = picture.querySelector(".gs-lens-from");
  const from = leadsFrom(lens);
  mark.hidden = from === null;
  if (from === null) return;
  mark.textContent = texts.translate("why.lens.from", { layer: from });
  const x = left + from * column;
  mark.classList.toggle("gs-before", x > width / 2); // the line; placed from the left, since paper has another width and the drawing stays
  Object.assign(mark.style, { top: `${heat}px`, lineHeight: `${gap}px`, left: `${x}px` });
}

/**
 * @param {Lens} lens
 * @param {number[]} shown
 * @param {string} tint
 */
function heatTrace({ layers }, shown, tint) {
  return {
    type: "heatmap",
    z: shown.map((n) => layers.map(({ logprobs }) => shadeOf(probabilityOf(logprobs[n])))),
    zmin: 0,
    zmax: 1,
    colorscale: [[0, `rgba(${tint}, 0.06)`], [1, `rgba(${tint}, 1)`]],
    showscale: false,
    xgap: 1,
    ygap: 1,
    hoverinfo: "skip",
  };
}

/**
 * A dot in each layer's most probable token.
 * @param {Lens} lens
 * @param {number[]} shown
 * @param {string} text
 * @param {string} surface
 */
function leaderTrace({ layers }, shown, text, surface) {
  const places = layers.map(({ ranks }) => shown.findIndex((n) => ranks[n] === 0));
  return {
    type: "scatter",
    mode: "markers",
    x: layers.map((_, layer) => layer),
    y: places.map((place) => (place < 0 ? null : place)),
    marker: { size: 6, color: text, line: { color: surface, width: 1 } },
    hoverinfo: "skip",
  };
}

/**
 * @param {Lens} lens
 * @param {number[]} shown
 * @param {string[]} colours
 */
function lineTraces({ layers }, shown, colours) {
  return shown.map((n, row) => ({
    type: "scatter",
    mode: "lines",
    x: layers.map((_, layer) => layer),
    y: layers.map(({ logprobs }) => 100 * probabilityOf(logprobs[n])),
    yaxis: "y2",
    line: { color: colours[row], width: row ? 2 : 4, dash: row ? dashesOf(row).map((length) => `${length}px`).join() : "solid" },
    hoverinfo: "skip",
  })).toReversed(); // the pick's lies above the others
}

/**
 * @param {Lens} lens
 * @param {Sizes} sizes
 * @param {{ text: string, line: string, family: string }} looks
 */
function layoutOf(lens, { width, height, left, right, axis, row, heat, gap, lines, column }, { text, line, family }) {
  const count = lens.layers.length;
  const from = leadsFrom(lens);
  const plain = { fixedrange: true, zeroline: false, showgrid: false, ticks: "" }; // a heat map would have some
  return {
    width,
    height,
    margin: { l: left, r: right, t: 0, b: axis },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family, size: 0.75 * rem(), color: text },
    xaxis: { ...plain, ...ticksOf(count, column), range: [-0.5, count - 0.5], anchor: "y2", ticks: "outside", ticklen: 4, tickcolor: line },
    yaxis: { ...plain, range: [heat / row - 0.5, -0.5], domain: [(gap + lines) / (heat + gap + lines), 1], showticklabels: false },
    yaxis2: { ...plain, showgrid: true, gridcolor: line, range: [SHARES.least, SHARES.most], tick0: 0, dtick: 25, ticksuffix: " %", domain: [0, lines / (heat + gap + lines)] },
    shapes: from === null ? [] : [{ type: "line", xref: "x", yref: "paper", x0: from - 0.5, x1: from - 0.5, y0: 0, y1: 1, line: { color: text, width: 2, dash: "dot" } }],
    showlegend: false,
  };
}

/**
 * The embedding and the last layer by their names, and numbers between them where there is room.
 * @param {number} count
 * @param {number} column
 */
function ticksOf(count, column) {
  const last = count - 1;
  const step = [1, 2, 5, 10, 20, 50].find((each) => each * column >= 3 * rem()) ?? 100;
  const room = Math.ceil((4.5 * rem()) / column); // of a name, in layers
  const between = Array.from({ length: count }, (_, layer) => layer).filter((layer) => layer % step === 0 && layer >= room && layer <= last - room);
  return { tickmode: "array", tickvals: [0, ...between, last], ticktext: [texts.translate("why.lens.axis.first"), ...between.map(String), texts.translate("why.lens.axis.last", { layer: last })] };
}

/**
 * The layer and the row that are pointed at, or the line that is nearest there.
 * @param {HTMLElement & { drawn?: Drawn }} picture
 * @param {HTMLElement} sentence
 */
function listenToPointer(picture, sentence) {
  const column = picture.querySelector(".gs-lens-column");
  /** @type {(event: PointerEvent) => void} */
  const point = ({ clientX, clientY }) => {
    if (!picture.drawn) return;
    const { lens, shown, sizes } = picture.drawn;
    const { left, top } = picture.getBoundingClientRect();
    const layer = Math.floor((clientX - left - sizes.left) / sizes.column);
    const y = clientY - top;
    if (!lens.layers[layer] || y < 0 || y >= sizes.height - sizes.axis) return;
    const share = SHARES.most - ((SHARES.most - SHARES.least) * (y - sizes.heat - sizes.gap)) / sizes.lines; // where it is among the lines
    const n = y < sizes.heat ? shown[Math.floor(y / sizes.row)] : nearestLine(lens, shown, layer, share);
    if (picture.drawn.pointedAt === `${layer} ${n}`) return; // a screen reader announces what is written again
    picture.drawn.pointedAt = `${layer} ${n}`;
    const { leader } = lens.layers[layer];
    const [cell, lead] = [make("span", ""), make("span", "")];
    texts.write(cell, "why.lens.cell", cellValues(lens, layer, n));
    texts.write(lead, "why.lens.point.leader", { token: labelOf(leader), probability: percent(leader.probability) });
    sentence.replaceChildren(cell, " ", lead);
    column.hidden = false;
    Object.assign(column.style, { left: `${sizes.left + layer * sizes.column}px`, width: `${sizes.column}px`, height: `${sizes.height - sizes.axis}px` });
  };
  picture.addEventListener("pointermove", point);
  picture.addEventListener("pointerdown", point);
}

/**
 * @param {Lens} lens
 * @param {number[]} shown
 * @param {number} layer
 * @param {number} share in percent
 */
function nearestLine({ layers }, shown, layer, share) {
  /** @type {(n: number) => number} */
  const distance = (n) => Math.abs(100 * probabilityOf(layers[layer].logprobs[n]) - share);
  return shown.reduce((best, n) => (distance(n) < distance(best) ? n : best));
}
