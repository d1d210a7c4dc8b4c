// The notebook's table: a row a step, one line each, Input and then the choices. Drawn only while it is in sight, and of it only the
// rows that are: 256 steps of 50 choices would be fifty thousand elements. What is not drawn is a gap of its height. Of many choices, those
// that have not been in sight yet are not drawn either.

import { percent } from "../core/numbers.js";
import { textBefore } from "../core/run.js";
import { texts } from "../core/texts.js";
import { idLabel } from "../core/tokens.js";
import { lettersOf } from "../core/visible.js";
import { headCell, label, make, rem } from "../view/elements.js";

/** @import { Run, Step } from "../core/run.js" */
/** @import { Panel, State } from "../core/state.js" */
/** @import { Parts } from "../view/panel_elements.js" */

const TABLE_ROW_REM = 2;
const ROWS_IN_SIGHT = 10; // panel.css
const ROWS_DRAWN = ROWS_IN_SIGHT + 9;
const ROWS_AROUND = 3;
const COLUMNS_DRAWN = 12; // at least; paper has room for six
const CELL_REM = 13; // at least: panel.css
const LAST_LETTERS = 26; // of the text so far

/**
 * What of the table is in sight, in pixels. Read before anything is written: the browser would lay out what was written for each of them.
 * @param {Parts} parts
 */
export function readTable({ table }) {
  const box = table.closest(".gs-rows");
  const { scrollTop, scrollLeft, clientWidth, clientHeight } = box;
  const steps = table.tBodies[0].offsetTop; // the gap begins where step 1 would
  table.sight = { box, top: scrollTop, right: scrollLeft + clientWidth, height: clientHeight, head: table.tHead.offsetHeight, steps, high: TABLE_ROW_REM * rem(), cell: CELL_REM * rem() };
}

/**
 * False while a run grows and its table, as tall as it will be, is out of the window's sight.
 * @param {Parts} parts
 * @param {Run} run
 * @param {number} rows that are drawn
 * @returns {boolean}
 */
export function isTableDue({ table }, run, rows) {
  return Boolean(run.end) || rows < ROWS_IN_SIGHT || table.isInWindow;
}

/**
 * @param {Parts} parts
 * @param {Run} run
 * @param {number} chosen
 * @param {boolean} isAnew
 */
export function drawTable(parts, run, chosen, isAnew) {
  const { table } = parts;
  if (isAnew || table.run !== run) {
    const titles = [texts.translate("table.input"), ...Array.from({ length: run.header.top_k }, (_, n) => texts.translate("table.choice", { number: n + 1 }))];
    const row = make("tr", "");
    row.append(...titles.map((title) => headCell(title, "col")));
    table.tHead.replaceChildren(row);
    const before = parts.tableSteps;
    parts.tableSteps = before.cloneNode(false); // not the same one emptied: the browser would see rows jump
    before.replaceWith(parts.tableSteps);
    table.style.setProperty("--columns", run.header.top_k);
    table.setAttribute("aria-colcount", run.header.top_k + 1);
    if (table.run !== run) table.brought = -1;
    Object.assign(table, { run, drawn: "", columns: COLUMNS_DRAWN });
    if (!table.sight.head) readTable(parts); // it has its head only now
  }
  const { box, top } = table.sight;
  scrollToRow(table, chosen);
  drawRows(parts);
  markRow(table, chosen);
  if (table.sight.top !== top) box.scrollTop = table.sight.top;
}

/**
 * The rows in sight and a few around them; all of them on paper. Rows that stay are reused.
 * @param {Parts} parts
 */
function drawRows(parts) {
  const { table } = parts;
  const { run, isWhole, sight: { high, ...sight } } = table;
  const [body, count] = [parts.tableSteps, run.steps.length];
  const top = Math.floor(sight.top / high / ROWS_AROUND - 1) * ROWS_AROUND;
  const from = isWhole ? 0 : Math.min(Math.max(0, top), Math.max(0, count - ROWS_DRAWN));
  const to = isWhole ? count : Math.min(count, from + ROWS_DRAWN);
  const columns = Math.ceil(sight.right / sight.cell);
  table.setAttribute("aria-rowcount", count + 1);
  if (columns > table.columns) {
    for (const row of body.rows) row.append(...choiceCells(run.steps[row.dataset.step], table.columns, columns));
    table.columns = columns;
  }
  if (table.drawn !== [from, to].join()) {
    table.drawn = [from, to].join();
    const there = new Map([...body.querySelectorAll("[data-step]")].map((row) => [Number(row.dataset.step), row]));
    for (const [index, row] of there) if (index < from || index >= to) row.remove();
    let at = body.firstElementChild;
    for (const step of run.steps.slice(from, to)) {
      const row = there.get(step.index);
      if (row) at = row.nextElementSibling; // a row that stays is not moved, so its cells are laid out once
      else body.insertBefore(tableRow(run, step, table.columns), at);
    }
  }
  // The gaps are no rows: they would be read out. Nor is their height a property of the rows: all cells would be styled anew with it.
  for (const [gap, rows] of [[body.previousElementSibling, from], [body.nextElementSibling, count - to]]) {
    const size = `${rows * high}px`;
    if (gap.style.getPropertyValue("--gap") !== size) gap.style.setProperty("--gap", size);
  }
}

/**
 * @param {Run} run
 * @param {Step} step
 * @param {number} columns that have been in sight
 */
function tableRow(run, step, columns) {
  const row = make("tr", "");
  row.dataset.step = String(step.index);
  row.setAttribute("aria-rowindex", String(step.index + 2));
  const before = textBefore(run, step.index);
  const head = headCell("", "row", "auto");
  const last = lettersOf(lastPart(before).replaceAll("\n", "↵")).slice(-LAST_LETTERS).join("");
  const box = make("span", "gs-last");
  box.append(make("span", "", last.length < before.length ? `…${last}` : last));
  head.append(box);
  row.append(head, ...choiceCells(step, 0, columns));
  return row;
}

/**
 * @param {Step} step
 * @param {number} from
 * @param {number} to
 * @returns {HTMLTableCellElement[]}
 */
function choiceCells(step, from, to) {
  return step.candidates.slice(from, to).map((candidate) => {
    const picked = candidate.rank === step.picked.rank;
    const cell = make("td", picked ? (step.forced ? "gs-forced" : "gs-argmax") : "");
    if (candidate.token_id >= 0) Object.assign(cell.dataset, { candidate: candidate.token_id, at: step.index });
    cell.append(label(candidate), ` (${percent(candidate.probability)}) `, make("span", "gs-id", idLabel(candidate)));
    return cell;
  });
}

/**
 * The chosen step's row, in the table's own sight unless it was scrolled while the same step is looked at; never by the page.
 * @param {any} table
 * @param {number} chosen
 */
function scrollToRow(table, chosen) {
  if (table.brought === chosen || !table.run.end) return; // the end of a run may come after its last step
  table.brought = chosen;
  const { sight } = table;
  const top = sight.steps + chosen * sight.high;
  sight.top = Math.max(Math.min(sight.top, top - sight.head), top + sight.high - sight.height);
}

/**
 * @param {any} table
 * @param {number} chosen
 */
function markRow(table, chosen) {
  table.chosen = chosen;
  table.querySelector('tr[aria-current="step"]')?.removeAttribute("aria-current");
  table.querySelector(`tr[data-step="${chosen}"]`)?.setAttribute("aria-current", "step");
}

/**
 * @param {Parts} parts
 * @param {State} state
 * @param {Panel} panel
 */
export function listenToTable(parts, state, panel) {
  const { table } = parts;
  const box = table.closest(".gs-rows");
  new IntersectionObserver((changes) => {
    table.isInWindow = changes.at(-1)?.isIntersecting;
    if (table.isInWindow && state.run.header) panel.schedule(); // which reads its size first
  }).observe(box);
  box.addEventListener("scroll", () => {
    if (!table.run) return;
    readTable(parts);
    drawRows(parts);
    markRow(table, table.chosen);
  }, { passive: true });
  for (const [name, isWhole] of Object.entries({ beforeprint: true, afterprint: false })) {
    window.addEventListener(name, () => {
      table.isWhole = isWhole;
      readTable(parts);
      if (state.run.header) drawTable(parts, state.run, state.chosen, false);
    });
  }
}

/**
 * The end of a text that is too long for a cell of a table.
 * @param {string} text
 * @param {number} [most]
 */
function lastPart(text, most = 400) {
  return text.length > most ? text.slice(-most).toWellFormed() : text;
}
