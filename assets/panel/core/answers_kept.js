// How many answers about its steps a run keeps: as many as a file of it may hold, and as a tab's memory has room for. On a page only: nothing is
// asked in a file.

import { LIMITS } from "./constants.js";
import { isWhyLine, linesAsWritten, whyText } from "./run_lines.js";

/** @import { Run } from "./run.js" */
/** @import { WhyLine } from "./why.js" */

const RECORD_BYTES = new WeakMap(); // of each answer's line
const RUN_BYTES = new WeakMap(); // of each run's other lines

/** @type {(text: string) => number} */
const bytes = (text) => new TextEncoder().encode(text).length;

/**
 * @param {WhyLine} record
 * @returns {number}
 */
export function bytesOfAnswer(record) {
  if (!RECORD_BYTES.has(record)) RECORD_BYTES.set(record, bytes(whyText(record)) + 1);
  return RECORD_BYTES.get(record);
}

/**
 * The newest answers whose lines have room together, newest first.
 * @param {Run} run
 * @param {number} room in bytes
 * @returns {WhyLine[]}
 */
export function newestAnswers(run, room) {
  const records = [];
  let left = room;
  for (const record of [...run.why.values()].toReversed()) {
    left -= bytesOfAnswer(record);
    if (left < 0) break;
    records.push(record);
  }
  return records;
}

/**
 * The run's own lines: one that was opened was written with its answers.
 * @param {Run} run
 * @returns {string}
 */
export const linesWithoutWhy = (run) => linesAsWritten(run).split("\n").filter((line) => !isWhyLine(line)).join("\n");

/**
 * The bytes of a whole run's own lines.
 * @param {Run} run
 * @returns {number}
 */
export function bytesWithoutWhy(run) {
  if (!RUN_BYTES.has(run)) RUN_BYTES.set(run, bytes(linesWithoutWhy(run)));
  return RUN_BYTES.get(run);
}

/**
 * The oldest answers go where there are too many, but never the newest. Their names stay in `forgotten`, so that the page says so.
 * @param {Run} run which is whole
 */
export function forgetOldAnswers(run) {
  const kept = newestAnswers(run, LIMITS.bytes - bytesWithoutWhy(run)).slice(0, LIMITS.whyLines);
  for (const name of [...run.why.keys()].slice(0, -Math.max(1, kept.length))) {
    run.why.delete(name);
    run.forgotten.add(name);
  }
}
