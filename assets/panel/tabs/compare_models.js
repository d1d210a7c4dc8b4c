// The part of the Compare tab for two models on one prompt: verdict, candidates of both at one position, and all tokens aligned by position
// (core/alignment.js).

import { alignRuns, countCharacters, differingPosition, generatedText, startOf, stepHolding } from "../core/alignment.js";
import { rowsOf } from "../core/bar_rows.js";
import { dtypeOf } from "../core/descriptions.js";
import { nameOf } from "../core/entry_names.js";
import { number, percent } from "../core/numbers.js";
import { totals } from "../core/run.js";
import { texts } from "../core/texts.js";
import { idLabel, labelOf } from "../core/tokens.js";
import { showDirectionMarks, visible } from "../core/visible.js";
import { fitLabels, rowLabel } from "../view/bars.js";
import { headCell, label, make } from "../view/elements.js";

/** @import { Row } from "../core/bar_rows.js" */
/** @import { Entry, History } from "../core/history.js" */
/** @import { Step } from "../core/run.js" */
/** @import { State } from "../core/state.js" */
/** @import { Parts } from "../view/panel_elements.js" */

/** @typedef {HTMLElement & { listed?: Step }} Listing and the step whose candidates it shows */

/**
 * @param {Parts} parts
 * @param {History} history
 * @param {State} state
 * @param {Entry} a
 * @param {Entry} b
 */
export function drawModelComparison(parts, history, state, a, b) {
  const { models } = parts.compare;
  const place = differingPosition(a.run, b.run);
  writeModelsVerdict(parts.compare.verdict, a, b, place);
  // Both look at the same position: that of the chosen step, in the run on screen if it is one of the two.
  const looking = [a, b].includes(history.shown) ? startOf(history.shown.run, state.chosen) : Math.max(0, place);
  const steps = [a, b].map((entry) => (entry === history.shown ? state.chosen : stepHolding(entry.run, looking)));
  for (const [side, entry] of [a, b].entries()) drawSide(models.sides[side], entry, steps[side]);
  // A button that is replaced loses the keyboard, so the table is only replaced when a text has grown.
  const drawn = [a, b].map((entry) => `${nameOf(entry)} ${entry.run.steps.length}`).join();
  if (models.table.dataset.drawn !== drawn) {
    models.table.dataset.drawn = drawn;
    drawAligned(models.table, history, [a, b], place);
  }
  for (const chip of models.table.querySelectorAll('[aria-current="step"]')) chip.removeAttribute("aria-current");
  for (const [side, step] of steps.entries()) {
    models.table.querySelector(`[data-side="${side}"][data-token="${step}"]`)?.setAttribute("aria-current", "step");
  }
}

/**
 * @param {HTMLElement} verdict
 * @param {Entry} a
 * @param {Entry} b
 * @param {number} place
 */
function writeModelsVerdict(verdict, a, b, place) {
  const [left, right] = [a, b].map(({ run }) => generatedText(run));
  if (place >= 0) {
    /** @type {(entry: Entry) => string} */
    const continuation = ({ run }) => {
      const { picked } = run.steps[stepHolding(run, place)];
      return texts.translate("models.goes_on", { model: run.header.model.id, token: labelOf(picked), probability: percent(picked.probability) });
    };
    const ways = { first: continuation(a), second: continuation(b) };
    if (place === 0) return texts.write(verdict, "models.part", ways);
    return texts.write(verdict, "models.part.later", { count: countCharacters(left.slice(0, place)), ...ways });
  }
  const [short, long] = left.length < right.length ? [a, b] : [b, a];
  const count = countCharacters(generatedText(short.run));
  if (!a.run.end || !b.run.end) return texts.write(verdict, "models.so_far", { count });
  if (left === right) return texts.write(verdict, "models.same", { count });
  return texts.write(verdict, "models.shorter", { count, short: nameOf(short), long: nameOf(long) });
}

/**
 * A model's panel: who wrote, how sure it was, and its candidates at the position that both look at.
 * @param {HTMLElement} side
 * @param {Entry} entry
 * @param {number} index
 */
function drawSide(side, entry, index) {
  const { run } = entry;
  const { model } = run.header;
  const [title, numbers, stepTitle, bars] = /** @type {Listing[]} */ ([...side.children]);
  const { logprob } = totals(run);
  const length = countCharacters(generatedText(run));
  title.textContent = showDirectionMarks(`${nameOf(entry)} · ${model.id}`);
  const sums = texts.translate("models.sums", { logprob: number(logprob, 3), each: number(length ? logprob / length : NaN, 3) });
  const lengths = texts.translate("models.lengths", { tokens: run.steps.length, characters: length });
  numbers.textContent = [dtypeOf(model), lengths, sums].join(" · ");
  const step = run.steps[index];
  if (step) texts.write(stepTitle, "models.step", { step: index + 1, token: labelOf(step.picked) });
  else texts.write(stepTitle, "models.no_step");
  if (bars.listed === step) return;
  bars.listed = step;
  const rows = step ? rowsOf(step) : [];
  fitLabels(side, bars, rows);
  bars.replaceChildren(...rows.map(plainRow));
}

/** @param {Row} row */
function plainRow(row) {
  const item = make("li", `gs-bar gs-${row.kind}`);
  item.style.setProperty("--p", String(row.probability));
  item.append(rowLabel(row), make("span", "gs-bar-track"), make("span", "gs-bar-value", percent(row.probability)));
  return item;
}

/**
 * @param {HeadedTable} table
 * @param {History} history
 * @param {Entry[]} entries
 * @param {number} place
 */
function drawAligned(table, history, entries, place) {
  const head = make("tr", "");
  head.append(...[texts.translate("models.character"), ...entries.map((entry) => showDirectionMarks(`${nameOf(entry)} · ${entry.run.header.model.id}`))].map((title) => headCell(title, "col")));
  table.tHead.replaceChildren(head);
  const written = entries.map(({ run }) => generatedText(run));
  const longer = written[0].length >= written[1].length ? written[0] : written[1];
  table.tBodies[0].replaceChildren(...alignRuns(entries[0].run, entries[1].run).map(({ from, to, steps }) => {
    const parts = place >= from && place < to;
    const row = make("tr", parts ? "gs-differs" : "");
    const first = countCharacters(longer.slice(0, from)) + 1;
    row.append(headCell(parts ? texts.translate("compare.here", { place: first }) : String(first), "row"));
    entries.forEach((entry, side) => {
      const cell = make("td", "");
      cell.append(...steps[side].map((index) => alignedChip(history, entry, side, index, place)));
      row.append(cell);
    });
    return row;
  }));
}

/**
 * @param {History} history
 * @param {Entry} entry
 * @param {number} side
 * @param {number} index
 * @param {number} place
 */
function alignedChip(history, entry, side, index, place) {
  const { run } = entry;
  const { picked } = run.steps[index];
  const piece = run.pieces[index];
  const chip = make("button", "gs-chip");
  chip.type = "button";
  Object.assign(chip.dataset, { side, token: index, of: history.entries.indexOf(entry) });
  chip.style.setProperty("--p", String(picked.probability));
  chip.title = texts.translate("models.chip", { step: index + 1, token: labelOf(picked), probability: percent(picked.probability), id: idLabel(picked) });
  const at = place - startOf(run, index);
  const text = at >= 0 && at < piece.length ? make("span", "gs-chip-text") : label(picked);
  if (at >= 0 && at < piece.length) {
    const [parting] = piece.slice(at);
    text.append(visible(piece.slice(0, at)), make("mark", "gs-parts", visible(parting)), visible(piece.slice(at + parting.length)));
    chip.title = texts.translate("models.chip.parts", { chip: chip.title });
  }
  chip.setAttribute("aria-label", chip.title);
  chip.append(text, make("span", "gs-id", idLabel(picked)));
  return chip;
}

/**
 * The models that can be asked beside the one that wrote the run on screen.
 * @param {Parts} parts
 * @param {State} state
 */
export function drawOtherModels(parts, state) {
  const { beside } = parts.questions;
  const others = state.models.filter((name) => name !== state.run.header.model.id);
  beside.closest("section").hidden = others.length === 0;
  if (beside.dataset.names === others.join()) return;
  beside.dataset.names = others.join();
  const before = beside.value;
  beside.replaceChildren(...others.map((name) => make("option", "", name)));
  if (others.includes(before)) beside.value = before;
}
