// Stores the newest runs in the tab's session storage, as JSON Lines and within bounds, so that they survive a reload. Draws nothing.

import { answersWithRoom, bytesWithoutWhy, linesWithoutWhy } from "../core/answers_kept.js";
import { addPromptScores, emptyRun, readLines } from "../core/run.js";
import { addWhy } from "../core/run_lines.js";
import { restoreEntries } from "../core/stored_history.js";

/** @import { Entry, History } from "../core/history.js" */
/** @import { Run } from "../core/run.js" */
/** @import { WhyLine } from "../core/why.js" */

/** @typedef {Parameters<typeof restoreEntries>[1][number]} StoredEntry */

const STORAGE_KEY = "greedyscope.kept";
const MAX_KEPT_BYTES = 2_000_000; // as UTF-8; browsers give a tab about 5 million characters
const MAX_KEPT_RUNS = 50;

/**
 * A page in a closed frame may remember nothing, and a tab's memory may be full: then it holds until the reload.
 * @template T
 * @param {(storage: Storage) => T} use
 * @returns {T | null}
 */
export function withSessionStorage(use) {
  try {
    return use(sessionStorage);
  } catch {
    return null;
  }
}

/**
 * The same after a reload: of the runs that the history names, a tab knows its own.
 * @returns {string}
 */
export function nameOfTab() {
  return withSessionStorage((tab) => {
    if (!tab.getItem(`${STORAGE_KEY}.tab`)) tab.setItem(`${STORAGE_KEY}.tab`, Math.random().toString(36).slice(2));
    return tab.getItem(`${STORAGE_KEY}.tab`);
  }) ?? Math.random().toString(36).slice(2);
}

let stored = /** @type {string | null} */ (null); // the runs that were stored last, and how many answers to what was asked about each
const storedAnswers = new Map(); // of each run that is stored, by its number: how many had come, and how many are stored
const writes = /** @type {(() => void)[]} */ ([]);

/**
 * @param {History} history
 * @param {boolean} isGrowing a question is open: what is answered is stored once, at its end
 */
export function storeRuns(history, isGrowing) {
  const whole = history.entries.filter(({ run }) => run.end);
  const names = whole.map(({ number, run }) => `${number} ${isGrowing ? storedAnswers.get(number)?.answers ?? 0 : run.answers}`).join();
  if (stored === names) return;
  stored = names;
  writeLater(() => writeRuns(whole));
}

/**
 * A run may be megabytes: each write has a task of its own, after the one that draws the run's end, or is made when the page is left.
 * @param {() => void} write
 */
function writeLater(write) {
  writes.push(write);
  setTimeout(() => writes.shift()?.());
}

/**
 * The newest runs, as many as have room, by the names under which they are stored; and in the room that is left, their answers.
 * @param {Entry[]} whole
 */
function runsWithRoom(whole) {
  let room = MAX_KEPT_BYTES;
  const fitting = [];
  for (const entry of whole.toReversed().slice(0, MAX_KEPT_RUNS)) {
    const left = room - bytesWithoutWhy(entry.run);
    if (left < 0) break;
    room = left;
    fitting.push(entry);
  }
  const found = new Map();
  for (const entry of fitting) {
    const { kept, gone, bytes } = answersWithRoom(entry.run, room);
    room -= bytes;
    found.set(`${STORAGE_KEY}.run.${entry.number}`, { entry, answers: entry.run.answers, kept, gone });
  }
  return found;
}

/** @param {Entry[]} whole */
function writeRuns(whole) {
  const [runs, names] = [runsWithRoom(whole), storedNames()];
  for (const name of names) if (!runs.has(name)) writeLater(() => withSessionStorage((tab) => tab.removeItem(name)));
  for (const [name, { entry, answers, kept, gone }] of [...runs].toReversed()) {
    const before = storedAnswers.get(entry.number);
    if (names.includes(name) && before?.answers === answers && before.kept === kept.length) continue;
    writeLater(() => withSessionStorage((tab) => {
      tab.setItem(name, storedText(entry, kept, gone));
      storedAnswers.set(entry.number, { answers, kept: kept.length });
    }));
  }
}

/** @returns {string[]} */
function storedNames() {
  return withSessionStorage((tab) => Object.keys(tab).filter((name) => name.startsWith(`${STORAGE_KEY}.run.`))) ?? [];
}

/**
 * The run's own lines, so that it is known again; what belongs to it stands in a line before them.
 * @param {Entry} entry
 * @param {WhyLine[]} why its answers that are stored
 * @param {string[]} gone the names of the others
 */
function storedText({ number, parent, leftAt, kind, from, request, run }, why, gone) {
  const id = request?.id; // by which the address knows it, where it was named and the run not yet
  const beside = { number, parent: parent?.number ?? null, leftAt, kind, from, request: id ? { id } : null, scores: run.scoreLines.trimEnd(), why, forgotten: [...run.forgotten, ...gone] };
  return `${JSON.stringify(beside)}\n${linesWithoutWhy(run)}`;
}

/**
 * What the tab remembers becomes the runs that are kept; `first` is the page's own run, which then is no new one. Writes that
 * still wait are made when the page is left.
 * @param {History} history
 * @param {Run} first
 */
export function restoreRuns(history, first) {
  addEventListener("pagehide", () => {
    while (writes.length > 0) writes.shift()?.();
  });
  const found = storedNames().map((name) => withSessionStorage((tab) => tab.getItem(name)));
  const records = found.map(readStored).filter((record) => record !== null).sort((a, b) => a.number - b.number);
  restoreEntries(history, records, first);
}

/**
 * @param {string | null} text
 * @returns {StoredEntry | null}
 */
function readStored(text) {
  try {
    const end = String(text).indexOf("\n");
    const { scores, why = [], forgotten = [], ...entry } = JSON.parse(String(text).slice(0, end));
    const run = readLines(emptyRun(), String(text).slice(end + 1));
    if (!run.header || !run.end) return null;
    if (scores) addPromptScores(run, scores);
    for (const record of why) addWhy(run, record);
    for (const name of forgotten) run.forgotten.add(name);
    storedAnswers.set(entry.number, { answers: run.answers, kept: run.why.size });
    return { ...entry, run };
  } catch {
    return null; // written by another version, or by hand
  }
}
