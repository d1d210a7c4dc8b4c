// The beams of a search as a tree: which texts were kept at each step, where each was dropped, which won. Knows no element of the page.

import { nameOf } from "./entry_names.js";
import { number } from "./numbers.js";
import { requestUpTo } from "./run.js";
import { texts } from "./texts.js";
import { labelOf } from "./tokens.js";
import { haveSameModel, haveSamePrompt } from "./verdict.js";

/** @import { Entry, History } from "./history.js" */
/** @import { Beam, Run } from "./run.js" */
/** @import { Panel } from "./state.js" */
/** @import { Token } from "./tokens.js" */

/**
 * @typedef {object} TreeNode a box
 * @property {number} step its column
 * @property {number} row
 * @property {number} parent the number of the node that it goes on from; -1 for the prompt
 * @property {Token} token
 * @property {string} value
 * @property {string} title
 * @property {Set<string>} kinds names of classes and of signs
 * @property {number[]} [ids] the tokens that lead to it
 * @property {Set<Entry>} [entries] the runs that it is part of
 * @property {() => void} onClick what a click does
 */

/** @typedef {{ row: number, step: number, text: string, title: string, onClick: () => void }} TreeEnd what stands at the end of a row */

/** @typedef {{ columns: number, rows: number, nodes: TreeNode[], ends: TreeEnd[] }} Tree a column a step, a row a text */

/**
 * A beam with its path: the beams from the first step on, and what became of it.
 * @typedef {object} BeamPath
 * @property {Beam} beam
 * @property {number} place
 * @property {BeamPath | null} parentPath
 * @property {Beam[]} path
 * @property {boolean} isGreedy
 * @property {boolean} goesOn
 * @property {boolean} isFinished
 * @property {boolean} isWinner
 * @property {number} number of its node
 */

/**
 * The run whose search is shown: the one on screen if a search found it, else the newest search from the same prompt by the same model.
 * @param {History} history
 * @returns {Entry | null}
 */
export function searchOf(history) {
  const { shown } = history;
  /** @type {(entry: Entry) => boolean} */
  const isSearch = ({ run }) => run.beams.length > 0 && Boolean(run.end);
  if (isSearch(shown)) return shown;
  return history.entries.findLast((entry) => isSearch(entry) && haveSamePrompt(entry.run, shown.run) && haveSameModel(entry.run, shown.run)) ?? null;
}

/**
 * @param {Run} run
 * @returns {BeamPath[][]}
 */
function beamPaths(run) {
  /** @type {BeamPath[][]} */
  const steps = [];
  for (const { beams } of run.beams) {
    const before = steps.at(-1);
    const made = beams.map((beam, place) => {
      const parentPath = before?.[beam.parent] ?? null;
      const isGreedy = beam.rank === 0 && (parentPath?.isGreedy ?? true);
      return { beam, place, parentPath, path: [...(parentPath?.path ?? []), beam], isGreedy, goesOn: false, isFinished: false, isWinner: false, number: -1 };
    });
    for (const { parentPath } of made) if (parentPath) parentPath.goesOn = true;
    steps.push(made);
  }
  const finished = run.beams.at(-1)?.finished ?? [];
  for (const [rank, [step, place]] of finished.entries()) {
    /** @type {BeamPath | null} */
    let at = steps[step]?.[place] ?? null; // a file may name one that is not there
    for (; at; at = at.parentPath) {
      at.isFinished = true;
      at.isWinner ||= rank === 0;
    }
  }
  return steps;
}

/**
 * @param {Run} run
 * @param {(path: Beam[]) => void} onClick what a click on a beam does
 * @returns {Tree}
 */
export function beamTree(run, onClick) {
  const steps = beamPaths(run);
  /** @type {TreeNode[]} */
  const nodes = [];
  for (const [step, beams] of steps.entries()) {
    for (const each of beams) {
      const { beam, path } = each;
      const isDropped = !each.goesOn && !beam.ended && step + 1 < steps.length;
      const kinds = new Set([
        ...(each.isWinner ? ["winner"] : []),
        ...(each.isGreedy ? ["greedy"] : []),
        ...(isDropped ? ["dropped"] : []),
        ...(beam.ended ? ["ended"] : []),
        ...(each.isFinished ? [] : ["lost"]),
      ]);
      each.number = nodes.length;
      nodes.push({
        step,
        row: each.place,
        parent: each.parentPath?.number ?? -1,
        token: beam,
        value: number(beam.total, 2),
        title: beamTitle(each, step, isDropped),
        kinds,
        ids: path.map(({ token_id: id }) => id),
        onClick: () => onClick(path),
      });
    }
  }
  return { columns: steps.length, rows: Math.max(...steps.map((beams) => beams.length)), nodes, ends: [] };
}

/**
 * @param {BeamPath} each
 * @param {number} step
 * @param {boolean} isDropped
 * @returns {string}
 */
function beamTitle({ beam, place, isWinner, isGreedy }, step, isDropped) {
  const values = { step: step + 1, place: place + 1, token: labelOf(beam), logprob: number(beam.logprob, 3), rank: beam.rank + 1, total: number(beam.total, 3) };
  return [
    texts.translate("tree.beam", values),
    isWinner ? texts.translate("tree.beam.winner") : "",
    isGreedy ? texts.translate("tree.beam.greedy") : "",
    isDropped ? texts.translate("tree.beam.dropped", { step: step + 2 }) : "",
    beam.ended ? texts.translate("tree.beam.ended") : "",
  ].filter(Boolean).join(" ");
}

/**
 * A text that begins with these tokens comes on screen at its last one: a run that is kept, or another that is asked for, with the picks
 * that argmax would not have made.
 * @param {Panel} panel
 * @param {History} history
 * @param {Entry} search
 * @param {Beam[]} path
 */
export function goToPath(panel, history, search, path) {
  const step = path.length - 1;
  /** @type {(entry: Entry) => boolean} */
  const isOfPath = ({ run }) => run.steps.length > step && path.every(({ token_id: id }, n) => run.steps[n].picked.token_id === id);
  const known = [history.shown, search, ...history.entries].find((entry) => (
    haveSamePrompt(entry.run, search.run) && haveSameModel(entry.run, search.run) && isOfPath(entry)));
  if (known) return panel.showStep(known, step);
  /** @type {[number, number][]} */
  const forced = [];
  for (const [n, { token_id: id, rank }] of path.entries()) if (rank) forced.push([n, id]);
  const { steps: shown } = history.shown.run;
  const leaves = path.findIndex(({ token_id: id }, n) => shown[n]?.picked.token_id !== id);
  panel.ask("branch", { ...requestUpTo(search.run, 0), forced }, { step: leaves, stepToShow: step });
}

/**
 * What a tree is drawn from: the runs, how far each is, and the language.
 * @param {Entry[]} entries
 * @returns {string}
 */
export function treeKey(entries) {
  return [...entries.map((entry) => `${nameOf(entry)}:${entry.run.steps.length}:${Boolean(entry.run.end)}`), texts.language()].join();
}
