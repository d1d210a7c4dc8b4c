// The history of runs in this browser: each with the run that it branched from and the step, undo and redo.

/** @import { Run } from "./run.js" */
/** @import { Question } from "./state.js" */

/** @typedef {"run" | "branch" | "beam" | "score" | "beside" | "file"} Kind what wrote a run */

/**
 * @typedef {object} Entry
 * @property {number} number by which people name it
 * @property {Run} run
 * @property {Entry | null} parent the run that it left
 * @property {number | null} leftAt the step where
 * @property {Kind} kind
 * @property {number | ((run: Run) => number) | null} stepToShow the step to look at once the run has come
 * @property {string} [from] a file's name
 * @property {Question | null} [request] what it was asked with
 */

/**
 * @typedef {object} Asked a question that was asked from the run on screen
 * @property {Entry | null} parent
 * @property {number | null} step
 * @property {Kind} kind
 * @property {string | null} placeToShow the tab that opens with its run, or "picture", which comes into sight
 * @property {Entry["stepToShow"]} stepToShow
 * @property {boolean} fieldsFollow the page's fields follow its run
 */

/** @typedef {{ entry: Entry, at: number, adds: boolean, before: Entry | null }} Change one that can be undone */

/**
 * @typedef {object} History
 * @property {Entry[]} entries
 * @property {Entry} shown the run on screen; null until there is one
 * @property {Pick<Entry, "run"> & Partial<Entry> | null} streaming the run that the server writes
 * @property {Asked | null} asked
 * @property {number} lastNumber
 * @property {Change[]} undo
 * @property {Change[]} redo
 */

/** @returns {History} */
export function emptyHistory() {
  return /** @type {any} */ ({ entries: [], shown: null, streaming: null, asked: null, lastNumber: 0, undo: [], redo: [] });
}

/**
 * A new run comes in: one that was asked for from another run is its branch.
 * @param {History} history
 * @param {Run} run
 * @returns {Entry}
 */
export function addEntry(history, run) {
  const { parent = null, step = null, kind = "run", stepToShow = null } = history.asked ?? {};
  history.asked = null;
  const entry = { number: ++history.lastNumber, run, parent: kind === "run" ? null : parent, leftAt: step, kind, stepToShow };
  recordChange(history, { entry, at: history.entries.length, adds: true, before: history.shown });
  history.streaming = entry;
  return entry;
}

/**
 * A run from a file stands beside the others, and what streams in meanwhile goes on.
 * @param {History} history
 * @param {Run} run
 * @param {string} [from]
 * @returns {Entry}
 */
export function openEntry(history, run, from) {
  /** @type {Entry} */
  const entry = { number: ++history.lastNumber, run, parent: null, leftAt: null, kind: "file", stepToShow: null, from };
  recordChange(history, { entry, at: history.entries.length, adds: true, before: history.shown });
  return entry;
}

/**
 * A run that comes on screen.
 * @param {History} history
 * @param {Entry} entry
 */
export function showEntry(history, entry) {
  history.shown = entry;
}

/**
 * A question was asked from the run on screen: what comes of it is that run's branch.
 * @param {History} history
 * @param {Omit<Asked, "parent">} question
 */
export function expectBranch(history, question) {
  history.asked = { parent: history.shown, ...question };
}

/**
 * The run that streams in was looked at where its question asked for.
 * @param {History} history
 */
export function clearStepToShow(history) {
  if (history.streaming) history.streaming.stepToShow = null;
}

/**
 * The reader has gone to another place since the question was asked, and stays there when its run comes.
 * @param {History} history
 */
export function forgetPlaceToShow({ asked }) {
  if (asked) asked.placeToShow = null;
}

/**
 * Nothing comes of the question any more.
 * @param {History} history
 */
export function forgetQuestion(history) {
  history.asked = null;
}

/**
 * @param {History} history
 * @param {Entry} entry
 */
export function removeEntry(history, entry) {
  const at = history.entries.indexOf(entry);
  if (at < 0 || history.entries.length === 1) return;
  recordChange(history, { entry, at, adds: false, before: history.shown });
}

/**
 * @param {History} history
 * @param {Change} step
 */
export function recordChange(history, step) {
  applyChange(history, step, step.adds);
  history.undo.push(step);
  history.redo = [];
}

/** @param {History} history */
export function undo(history) {
  if (history.undo.length < 2) return; // the first run stays
  const step = /** @type {Change} */ (history.undo.pop());
  applyChange(history, step, !step.adds);
  if (isKept(history, step.before)) history.shown = step.before;
  history.redo.push(step);
}

/** @param {History} history */
export function redo(history) {
  const step = history.redo.pop();
  if (!step) return;
  applyChange(history, step, step.adds);
  history.undo.push(step);
}

/**
 * @param {History} history
 * @param {Change} step
 * @param {boolean} adds
 */
function applyChange(history, { entry, at }, adds) {
  if (adds) {
    history.entries.splice(at, 0, entry);
    history.shown = entry;
    return;
  }
  history.entries.splice(at, 1);
  if (history.shown === entry) history.shown = isKept(history, entry.parent) ? entry.parent : history.entries[Math.max(0, at - 1)];
}

/**
 * @param {History} history
 * @param {Entry | null} entry
 * @returns {entry is Entry}
 */
export function isKept(history, entry) {
  return entry !== null && history.entries.includes(entry);
}
