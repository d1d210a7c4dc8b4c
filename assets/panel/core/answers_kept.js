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
function bytesOfAnswer(record) {
  if (!RECORD_BYTES.has(record)) RECORD_BYTES.set(record, bytes(whyText(record)) + 1);
  return RECORD_BYTES.get(record);
}

/**
 * The newest answers, as many as have room together, with the bytes of their lines; and the names of the older ones, which have none.
 * @param {Run} run
 * @param {number} room in bytes
 * @returns {{ kept: WhyLine[], gone: string[], bytes: number }}
 */
export function answersWithRoom(run, room) {
  const answers = [...run.why];
  let [first, taken] = [answers.length, 0];
  while (first > 0 && taken + bytesOfAnswer(answers[first - 1][1]) <= room) {
    first -= 1;
    taken += bytesOfAnswer(answers[first][1]);
  }
  return { kept: answers.slice(first).map(([, record]) => record), gone: answers.slice(0, first).map(([name]) => name), bytes: taken };
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
  const names = [...run.why.keys()];
  const { gone } = answersWithRoom(run, LIMITS.bytes - bytesWithoutWhy(run));
  const count = Math.min(names.length - 1, Math.max(gone.length, names.length - LIMITS.whyLines));
  for (const name of names.slice(0, Math.max(0, count))) {
    run.why.delete(name);
    run.forgotten.add(name);
  }
}
