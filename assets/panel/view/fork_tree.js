// The runs that part from each other as a small picture beside the text: where they part, and which text is more probable as a whole. A
// press on a line goes there. Knows the runs that are kept.

import { describeEntry, nameOf } from "../core/entry_names.js";
import { totals } from "../core/run.js";
import { texts } from "../core/texts.js";
import { factorOf, haveSameModel } from "../core/verdict.js";
import { actionButton, make, verbatimSpan } from "./elements.js";
import { forkDescription } from "./fork_note.js";

/** @import { Entry, History } from "../core/history.js" */
/** @import { Parts } from "./panel_elements.js" */

const MOST_FORKS = 5;
const FORK_REM = 1.5;

/**
 * @param {Parts} parts
 * @param {History} history
 * @param {boolean} isHidden
 */
export function drawForkTree(parts, history, isHidden) {
  const box = parts.root.querySelector(".gs-forks");
  const family = isHidden ? [] : familyOf(history);
  box.hidden = family.length < 2;
  if (box.hidden) return;
  const root = family[0];
  const known = family.map(({ run, number: name }) => [name, run.end ? run.steps.length : -1]).join();
  const drawn = [history.shown.number, known, texts.language()].join();
  if (box.dataset.drawn === drawn) return; // a button that is replaced loses the keyboard
  box.dataset.drawn = drawn;
  const [picture, list] = box.children;
  const most = Math.max(...family.map(({ run }) => run.steps.length));
  const isSure = family.every(({ run }) => run.end && haveSameModel(root.run, run) && run.steps.length === root.run.steps.length);
  const best = isSure ? Math.max(...family.map(({ run }) => totals(run).logprob)) : null;
  picture.setAttribute("viewBox", `0 0 100 ${family.length}`);
  picture.style.height = `${family.length * FORK_REM}rem`;
  picture.replaceChildren(...family.map((entry, place) => branchLine(family, entry, place, most, entry === history.shown)));
  const parting = stepOfParting(family, history.shown);
  list.replaceChildren(...family.map((entry) => forkRow(history, root, entry, best, parting)));
  const row = list.children[family.indexOf(history.shown)];
  box.scrollTop = row.offsetTop - (box.clientHeight - row.offsetHeight) / 2;
}

/**
 * The run on screen, what it left, and all that left these: a run stands above those that left it. Of many, the newest.
 * @param {History} history
 * @returns {Entry[]}
 */
function familyOf(history) {
  /** @type {(entry: Entry) => Entry | null} */
  const keptParent = ({ parent }) => (parent && history.entries.includes(parent) ? parent : null);
  /** @type {(entry: Entry) => Entry} */
  const rootOf = (entry) => {
    const parent = keptParent(entry);
    return parent && entry.kind === "branch" ? rootOf(parent) : entry;
  };
  const root = rootOf(history.shown);
  /** @type {(entry: Entry) => Entry[]} */
  const descendantsOf = (entry) => history.entries.filter((each) => each.kind === "branch" && each.parent === entry).flatMap((each) => [each, ...descendantsOf(each)]);
  const branches = descendantsOf(root);
  const shown = new Set([...branches.toSorted((a, b) => b.number - a.number).slice(0, MOST_FORKS - 2), history.shown]);
  return [root, ...branches.filter((entry) => shown.has(entry))];
}

/**
 * @param {Entry[]} family
 * @param {Entry} entry
 * @param {number} place
 * @param {number} most
 * @param {boolean} isShown
 */
function branchLine(family, entry, place, most, isShown) {
  const from = place === 0 ? 0 : (100 * Number(entry.leftAt)) / most;
  const above = Math.max(0, family.indexOf(/** @type {Entry} */ (entry.parent)));
  const way = place === 0 ? "M 0 0.5 H 100" : `M ${from} ${above + 0.5} V ${place + 0.5} H 100`;
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", way);
  line.classList.toggle("gs-shown", isShown);
  return line;
}

/**
 * The step at which the first run and the one on screen part. Where the first run is on screen: the step at which its first fork leaves it.
 * @param {Entry[]} family
 * @param {Entry} shown
 * @returns {number}
 */
function stepOfParting([root, first], shown) {
  let step = Infinity;
  for (let entry = shown === root ? first : shown; entry !== root; entry = /** @type {Entry} */ (entry.parent)) step = Math.min(step, Number(entry.leftAt));
  return step;
}

/**
 * @param {History} history
 * @param {Entry} root
 * @param {Entry} entry
 * @param {number | null} best the most probable text's logarithm, where it can be said
 * @param {number} parting the step to which the first run's button goes
 */
function forkRow(history, root, entry, best, parting) {
  const item = make("li", "");
  const button = actionButton("gs-fork", "", entry === root ? "of" : "show", history.entries.indexOf(entry));
  if (entry === root) button.dataset.token = String(parting);
  const words = forkDescription(entry);
  const token = entry === root ? texts.translate("forks.root") : words ? `${words[1].mark}${words[1].taken}` : nameOf(entry);
  const { logprob } = totals(entry.run);
  const isBest = best !== null && logprob > best - 1e-9;
  const lead = logprob - totals(root.run).logprob;
  const factor = best === null || entry === root ? "" : lead >= 0 ? `×${factorOf(lead)}` : `÷${factorOf(-lead)}`;
  button.append(entry === root ? make("span", "gs-fork-root", token) : verbatimSpan("gs-fork-token", token), make("span", "gs-fork-factor", `${factor}${isBest ? " ★" : ""}`));
  button.title = [nameOf(entry), words ? texts.translate(...words) : describeEntry(history, entry), isBest ? texts.translate("forks.best") : ""].filter(Boolean).join(" · ");
  if (entry === history.shown) button.setAttribute("aria-current", "true");
  item.append(button);
  return item;
}
