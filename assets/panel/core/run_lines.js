// A run's JSON Lines as they are saved: as it was written, and what was asked about its steps since. Knows no element of the page, and not how
// a line is read.

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
export const whyText = (record) => JSON.stringify(record).replaceAll("<", "\\u003c");

/**
 * @param {string} line
 * @returns {boolean}
 */
export const isWhyLine = (line) => /^\s*\{\s*"(lens|leave_one_out)"/.test(line);

/**
 * Add a lens, or what was left out: one of each a step, of which the newest stays, but no finished one goes for one that is not.
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
}
