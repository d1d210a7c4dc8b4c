// The Compare tab: the list of runs, and two of them side by side.

import { markOfPick } from "../core/how_picked.js";
import { areOtherModels, firstDifference } from "../core/alignment.js";
import { shortened } from "../core/descriptions.js";
import { describeEntry, nameOf } from "../core/entry_names.js";
import { number, percent } from "../core/numbers.js";
import { totals } from "../core/run.js";
import { texts } from "../core/texts.js";
import { idLabel } from "../core/tokens.js";
import { hasManyPrompts, haveSamePrompt, verdictOn } from "../core/verdict.js";
import { actionButton, headCell, label, make, verbatimSpan } from "../view/elements.js";
import { drawModelComparison } from "./compare_models.js";

/** @import { Entry, History } from "../core/history.js" */
/** @import { Step } from "../core/run.js" */
/** @import { State } from "../core/state.js" */
/** @import { Parts } from "../view/panel_elements.js" */

/**
 * @param {Parts} parts
 * @param {History} history
 * @param {State} state
 */
export function drawCompare(parts, history, state) {
  const { list, sides, models, verdict, undo: undoButton, redo: redoButton } = parts.compare;
  undoButton.disabled = history.undo.length < 2;
  redoButton.disabled = history.redo.length === 0;
  list.tBodies[0].replaceChildren(...history.entries.map((entry, place) => entryRow(history, entry, place)));
  const [a, b] = comparedEntries(parts, history);
  models.root.hidden = true;
  if (!a || !b || a === b) {
    verdict.textContent = texts.translate(history.entries.length < 2 ? "compare.none" : "compare.same");
    sides.hidden = true;
    return;
  }
  sides.hidden = areOtherModels(a.run, b.run);
  models.root.hidden = !sides.hidden;
  if (sides.hidden) return drawModelComparison(parts, history, state, a, b);
  const differs = haveSamePrompt(a.run, b.run) ? firstDifference(a.run, b.run) : -1; // two texts with other beginnings part nowhere
  verdict.textContent = [verdictOn(history, a, b), differs < 0 ? "" : texts.translate("compare.part", { step: differs + 1 })].filter(Boolean).join(" ");
  drawSides(sides, a, b, differs);
}

/**
 * @param {History} history
 * @param {Entry} entry
 * @param {number} place
 */
function entryRow(history, entry, place) {
  const { run } = entry;
  const { logprob, perplexity } = totals(run);
  const row = make("tr", "");
  if (entry === history.shown) row.setAttribute("aria-current", "true");
  const show = actionButton("gs-link", nameOf(entry), "show", place);
  const remove = actionButton("gs-link", texts.translate("compare.remove"), "remove", place);
  remove.disabled = history.entries.length === 1;
  remove.setAttribute("aria-label", texts.translate("compare.remove.label", { name: nameOf(entry) }));
  const cells = [
    show,
    originCell(history, entry),
    verbatimSpan("", run.pieces.join("")),
    String(run.steps.length),
    number(logprob, 3),
    run.steps.length ? number(logprob / run.steps.length, 3) : "",
    run.steps.length ? number(perplexity, 2) : "",
    remove,
  ];
  row.append(...cells.map((content) => {
    const cell = make("td", "");
    cell.append(content);
    return cell;
  }));
  row.children[2].className = "gs-generated";
  return row;
}

/**
 * Where a run comes from, and of which prompt it is, where there are several.
 * @param {History} history
 * @param {Entry} entry
 */
function originCell(history, entry) {
  const cell = make("span", "", describeEntry(history, entry));
  if (hasManyPrompts(history)) cell.append(" · ", verbatimSpan("gs-of", `“${shortened(entry.run.header.prompt)}”`));
  return cell;
}

/**
 * The two runs to compare: as chosen, and unless chosen the one on screen with the one it left, or with the one before it.
 * @param {Parts} parts
 * @param {History} history
 * @returns {(Entry | undefined)[]}
 */
function comparedEntries(parts, history) {
  const [left, right] = [parts.compare.left, parts.compare.right];
  const names = [...history.entries.map(nameOf), texts.language()].join();
  if (left.dataset.names !== names) {
    left.dataset.names = names;
    for (const select of [left, right]) {
      select.replaceChildren(...history.entries.map((entry) => {
        const option = make("option", "", hasManyPrompts(history) ? `${nameOf(entry)} · ${shortened(entry.run.header.prompt, 24)}` : nameOf(entry));
        option.value = String(entry.number);
        return option;
      }));
    }
    const shown = history.entries.indexOf(history.shown);
    const other = history.entries.indexOf(/** @type {Entry} */ (history.shown?.parent));
    right.selectedIndex = shown;
    left.selectedIndex = other >= 0 ? other : Math.max(0, shown - 1);
  }
  return [left, right].map((select) => history.entries[select.selectedIndex]);
}

/**
 * @param {HeadedTable} table
 * @param {Entry} a
 * @param {Entry} b
 * @param {number} differs
 */
function drawSides(table, a, b, differs) {
  const head = make("tr", "");
  head.append(...[texts.translate("player.strip"), nameOf(a), nameOf(b)].map((title) => headCell(title, "col")));
  table.tHead.replaceChildren(head);
  const most = Math.max(a.run.steps.length, b.run.steps.length);
  const rows = Array.from({ length: most }, (_, n) => {
    const row = make("tr", n === differs ? "gs-differs" : "");
    row.append(headCell(n === differs ? texts.translate("compare.here", { place: n + 1 }) : String(n + 1), "row"), sideCell(a.run.steps[n]), sideCell(b.run.steps[n]));
    return row;
  });
  table.tBodies[0].replaceChildren(...rows);
}

/** @param {Step | undefined} step */
function sideCell(step) {
  const cell = make("td", step?.forced ? "gs-forced" : "");
  if (!step) return cell;
  cell.append(
    label(step.picked, "gs-chip-text", step.forced ? markOfPick(step) : ""),
    make("span", "gs-percent", ` (${percent(step.picked.probability)}) `),
    make("span", "gs-id", idLabel(step.picked)),
  );
  return cell;
}
