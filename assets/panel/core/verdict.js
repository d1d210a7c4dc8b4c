// What two runs allow to be said of each other, and nothing else. Probabilities compare where one model in one precision gave them to texts
// of as many tokens after one prompt, and both are there to their end; totals and factors of any others say nothing.

import { firstDifference } from "./alignment.js";
import { describeEntry, nameOf } from "./entry_names.js";
import { number, numberFromLog } from "./numbers.js";
import { isForced, totals } from "./run.js";
import { recordSentence } from "./record_sentences.js";
import { texts } from "./texts.js";

/** @import { Entry, History } from "./history.js" */
/** @import { Run } from "./run.js" */

/** @typedef {{ entry: Entry, count: number, logprob: number }} Side */

/**
 * @param {Run} a
 * @param {Run} b
 * @returns {boolean}
 */
export const haveSamePrompt = (a, b) => a.header.prompt === b.header.prompt && idsOfPrompt(a) === idsOfPrompt(b);
/**
 * @param {Run} run
 * @returns {string}
 */
const idsOfPrompt = (run) => run.header.prompt_tokens.map(({ token_id: id }) => id).join();
/**
 * @param {Run} a
 * @param {Run} b
 * @returns {boolean}
 */
export const haveSameModel = (a, b) => /** @type {const} */ (["id", "revision", "dtype"]).every((name) => a.header.model[name] === b.header.model[name]);
/**
 * @param {History} history
 * @returns {boolean}
 */
export const hasManyPrompts = (history) => new Set(history.entries.map(({ run }) => run.header.prompt)).size > 1;

/**
 * @param {History} history
 * @param {Entry} a
 * @param {Entry} b
 * @returns {string}
 */
export function verdictOn(history, a, b) {
  const [first, second] = [a, b].map((entry) => ({ entry, count: entry.run.steps.length, ...totals(entry.run) }));
  if (!haveSamePrompt(a.run, b.run)) return texts.translate(a.run.header.model.id === b.run.header.model.id ? "verdict.prompts" : "verdict.models");
  if (!haveSameModel(a.run, b.run)) return texts.translate("verdict.versions", { first: versionOf(a), second: versionOf(b) });
  const growing = [a, b].find(({ run }) => !run.end);
  if (growing) return texts.translate("verdict.growing", { name: nameOf(growing) });
  const unknown = [first, second].find(({ logprob }) => !Number.isFinite(logprob));
  if (unknown) return texts.translate("verdict.unknown", { name: nameOf(unknown.entry) });
  const empty = [first, second].find(({ count }) => count === 0);
  if (empty) return texts.translate("verdict.empty", { name: nameOf(empty.entry) });
  if (first.count !== second.count) return lengthsVerdict(first, second);
  if (firstDifference(a.run, b.run) < 0) return texts.translate("compare.tie");
  const lead = first.logprob - second.logprob;
  if (Math.abs(lead) < 1e-6) return texts.translate("verdict.tie", { logprob: number(first.logprob, 3), count: first.count });
  const [winner, loser] = lead > 0 ? [first, second] : [second, first];
  const sums = { winnerSum: number(winner.logprob, 3), loserSum: number(loser.logprob, 3), count: first.count };
  return texts.translate("verdict.wins", { winner: nameAndOrigin(history, winner), loser: nameAndOrigin(history, loser), factor: factorOf(Math.abs(lead)), ...sums });
}

/**
 * @param {Side} first
 * @param {Side} second
 * @returns {string}
 */
function lengthsVerdict(first, second) {
  /** @type {(side: Side) => string} */
  const each = (side) => number(side.logprob / side.count, 3);
  const sums = { firstSum: number(first.logprob, 3), secondSum: number(second.logprob, 3), firstEach: each(first), secondEach: each(second) };
  return texts.translate("verdict.lengths", { first: first.count, second: second.count, ...sums });
}

/**
 * @param {Entry} entry
 * @returns {string}
 */
function versionOf({ run }) {
  const { id, revision, dtype } = run.header.model;
  return [id, revision, recordSentence(dtype)].filter(Boolean).join(" ");
}

/**
 * @param {History} history
 * @param {Side} side
 * @returns {string}
 */
function nameAndOrigin(history, { entry }) {
  return entry.kind === "run" && !isForced(entry.run) ? nameOf(entry) : `${nameOf(entry)} (${describeEntry(history, entry)})`;
}

/**
 * @param {number} lead
 * @returns {string}
 */
export function factorOf(lead) {
  return lead < Math.log(1e9) ? Math.exp(lead).toLocaleString("en", { maximumSignificantDigits: 3 }) : numberFromLog(lead);
}
