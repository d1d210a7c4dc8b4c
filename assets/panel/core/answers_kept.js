// How many answers about its steps a run keeps: as many as a file of it may hold. On a page only: nothing is asked in a file.

import { LIMITS } from "./constants.js";
import { isWhyLine, whyText } from "./run_lines.js";

/** @import { Run } from "./run.js" */

const RECORD_BYTES = new WeakMap(); // of each answer's line
const RUN_BYTES = new WeakMap(); // of each run's other lines

/** @type {(text: string) => number} */
const bytes = (text) => new TextEncoder().encode(text).length;

/**
 * The bytes of the answers' lines.
 * @param {Run} run
 * @returns {number}
 */
export function bytesOfWhy(run) {
  let sum = 0;
  for (const record of run.why.values()) {
    if (!RECORD_BYTES.has(record)) RECORD_BYTES.set(record, bytes(whyText(record)) + 1);
    sum += RECORD_BYTES.get(record);
  }
  return sum;
}

/**
 * The bytes of a whole run's own lines. The text of one that was opened has the lines of its answers too.
 * @param {Run} run
 * @returns {number}
 */
function bytesWithoutWhy(run) {
  if (!RUN_BYTES.has(run)) RUN_BYTES.set(run, bytes(run.text.split("\n").filter((line) => !isWhyLine(line)).join("\n")));
  return RUN_BYTES.get(run);
}

/**
 * The oldest answers go where there are too many. Which went is known, so that the page says so.
 * @param {Run} run which is whole
 */
export function forgetOldAnswers(run) {
  const room = LIMITS.bytes - bytesWithoutWhy(run);
  while (run.why.size > LIMITS.whyLines || (run.why.size > 1 && bytesOfWhy(run) > room)) {
    const oldest = String(run.why.keys().next().value);
    run.why.delete(oldest);
    run.forgotten.add(oldest);
  }
}
