// A run's JSON Lines as they are saved: as it was written, and what was asked about its steps since. Owns how many answers a run keeps. Knows
// no element of the page, and not how a line is read.

import { LIMITS } from "./constants.js";
import { markAnswer, takesPlaceOf } from "./why.js";

/** @import { Run } from "./run.js" */
/** @import { WhyLine } from "./why.js" */

/**
 * The run as JSON Lines, whole also where the panel and not the server ended it.
 * @param {Run} run
 * @returns {string}
 */
export function jsonLines(run) {
  const text = linesAsWritten(run);
  if (run.why.size === 0 && !run.scoreLines) return text;
  const lines = text.trimEnd().split("\n").filter((line) => !isWhyLine(line));
  const end = String(lines.pop());
  return [...lines, ...(run.scoreLines ? [run.scoreLines.trimEnd()] : []), ...[...run.why.values()].map(whyText), end, ""].join("\n");
}

/**
 * The run as it was written or opened, without what was asked since.
 * @param {Run} run
 * @returns {string}
 */
export function linesAsWritten(run) {
  const { stop_reason, message } = run.end ?? { stop_reason: "stopped" };
  return run.text + (run.closed ? "" : `${JSON.stringify(message ? { stop_reason, message } : { stop_reason })}\n`);
}

/**
 * An answer as a line. Within a page no text of a run may look like a tag.
 * @param {WhyLine} record
 * @returns {string}
 */
const whyText = (record) => JSON.stringify(record).replaceAll("<", "\\u003c");

const WHY_BYTES = new WeakMap(); // of each answer's line

/**
 * The bytes of the answers' lines.
 * @param {Run} run
 * @returns {number}
 */
export function bytesOfWhy(run) {
  let sum = 0;
  for (const record of run.why.values()) {
    if (!WHY_BYTES.has(record)) WHY_BYTES.set(record, new TextEncoder().encode(whyText(record)).length + 1);
    sum += WHY_BYTES.get(record);
  }
  return sum;
}

/**
 * @param {string} line
 * @returns {boolean}
 */
export const isWhyLine = (line) => /^\s*\{\s*"(lens|leave_one_out)"/.test(line);

/**
 * Add a lens, or what was left out: one of each a step, of which the newest stays, but no finished one goes for one that is not. Of many, the
 * newest: as many as a file of the run may hold. Which were dropped is known, so that the page says so.
 * @param {Run} run
 * @param {WhyLine} record
 */
export function addWhy(run, record) {
  const name = record.lens ? `lens ${record.lens.step}` : `leave_one_out ${record.leave_one_out?.step}`;
  if (!takesPlaceOf(run, record.leave_one_out, run.why.get(name)?.leave_one_out)) return;
  markAnswer(run, record);
  run.why.delete(name);
  run.why.set(name, record);
  run.forgotten.delete(name);
  run.answers += 1;
  const room = LIMITS.bytes - new TextEncoder().encode(run.text).length;
  while (run.why.size > LIMITS.whyLines || (run.why.size > 1 && bytesOfWhy(run) > room)) {
    const oldest = String(run.why.keys().next().value);
    run.why.delete(oldest);
    run.forgotten.add(oldest);
  }
}
