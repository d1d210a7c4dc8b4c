// The score of a class that voted, from the results of its steps: of all answers, of the most frequent one, and of the model. And the
// results as a table without persons. The server counts (decoding/serving/vote_scores.py); here only means are taken.

import { texts } from "./texts.js";

/**
 * @typedef {"invalid" | "unknown" | "no_right" | "sessions_full" | "class_full" | "questions_full" | "late" | "too_often" | "too_fast"} VoteRefusal
 *   why the server refuses a request of a vote: decoding/requests/vote_request.py
 */
/** @typedef {{ label: string, rank: number, probability: number, votes: number }} VoteOption */
/** @typedef {{ answers: number, right: number, ranks: number, bits: number, is_bound: boolean }} VoteScore */
/**
 * @typedef {object} VoteResult
 * @property {number} number
 * @property {number} step counted from 1
 * @property {VoteOption[]} options
 * @property {number} picked the place of the token that the text continues with
 * @property {number} beyond the most that the probability of another answer can be
 * @property {[string, number][]} others
 * @property {number} other_votes
 * @property {VoteScore} score
 */
/** @typedef {{ count: number, right: number, rank: number, bits: number, isBound: boolean }} MeanScore */

/** @typedef {{ option: VoteOption | null, label: string, votes: number }} VoteAnswer a candidate, or null for another word that was typed */

/**
 * The answers of a step that have the most votes: one, several in a tie, or none where there was no answer.
 * @param {VoteResult} result
 * @returns {VoteAnswer[]}
 */
export function mostFrequent({ options, others }) {
  const candidates = options.map((option) => ({ option, label: option.label, votes: option.votes }));
  const all = [...candidates, ...others.map(([label, votes]) => ({ option: null, label, votes }))];
  const most = Math.max(...all.map(({ votes }) => votes));
  return most > 0 ? all.filter(({ votes }) => votes === most) : [];
}

/**
 * Each run is asked from its first step on: where the steps begin anew, the class was asked about another text.
 * @param {VoteResult[]} results
 * @returns {number[]} of each result its text, counted from 1
 */
export function textNumbers(results) {
  let text = 1;
  return results.map(({ step }, n) => (n > 0 && step <= results[n - 1].step ? ++text : text));
}

/**
 * Of the steps that were answered: what all answers, the most frequent ones and the model's tokens are worth. A tie is worth the mean of its
 * answers.
 * @param {VoteResult[]} results
 * @returns {{ answers: MeanScore, choice: MeanScore, model: MeanScore } | null}
 */
export function meanScores(results) {
  const answered = results.filter(({ score }) => score.answers > 0);
  if (answered.length === 0) return null;
  const all = answered.map(({ score }) => score);
  const choices = answered.flatMap((result) => {
    const tied = mostFrequent(result);
    return tied.map(({ option }) => scoreOfOption(result, option, 1 / tied.length));
  });
  const model = answered.map((result) => scoreOfOption(result, result.options[result.picked]));
  return { answers: meanOf(all), choice: meanOf(choices), model: meanOf(model) };
}

/**
 * @param {VoteResult} result
 * @param {VoteOption | null} option
 * @param {number} [weight] as how many answers it counts
 * @returns {VoteScore}
 */
function scoreOfOption({ options, picked, beyond }, option, weight = 1) {
  const { rank, probability } = option ?? { rank: options.length, probability: beyond };
  const bits = -Math.log2(Math.max(probability, 2 ** -149));
  return { answers: weight, right: weight * Number(option === options[picked]), ranks: weight * (rank + 1), bits: weight * bits, is_bound: option === null };
}

/**
 * @param {VoteScore[]} scores
 * @returns {MeanScore}
 */
function meanOf(scores) {
  /** @type {(quantity: (score: VoteScore) => number) => number} */
  const sum = (quantity) => scores.reduce((total, score) => total + quantity(score), 0);
  const count = sum(({ answers }) => answers);
  return { count, right: sum(({ right }) => right) / count, rank: sum(({ ranks }) => ranks) / count, bits: sum(({ bits }) => bits) / count, isBound: scores.some(({ is_bound }) => is_bound) };
}

/**
 * One row for each answer to each step, with its votes; of no row is it known whose it is.
 * @param {VoteResult[]} results
 * @returns {string}
 */
export function votesCsv(results) {
  const names = ["number", "step", "answer", "candidate", "votes", "share", "rank", "probability", "picked"];
  const rows = results.flatMap(({ number, step, options, picked, others, other_votes, score }) => {
    /** @type {(votes: number) => number} */
    const share = (votes) => (score.answers ? votes / score.answers : 0);
    const listed = others.reduce((sum, [, votes]) => sum + votes, 0);
    const rest = /** @type {[string, number][]} */ (other_votes > listed ? [["…", other_votes - listed]] : []);
    return [
      ...options.map(({ label, rank, probability, votes }, place) => [number + 1, step, label, 1, votes, share(votes), rank + 1, probability, Number(place === picked)]),
      ...[...others, ...rest].map(([word, votes]) => [number + 1, step, word, 0, votes, share(votes), "", "", 0]),
    ];
  });
  return [names.map((name) => texts.translate(`vote.csv.${name}`)), ...rows].map((row) => `${row.map(csvCell).join(",")}\r\n`).join("");
}

// A spreadsheet takes a text for a formula that begins with one of these signs; students type what they like.
const FORMULA = /^[\s'\u200b-\u200f\ufeff]*[=+\-@＝＋－＠\t\r]/;

/**
 * @param {string | number} value
 * @returns {string}
 */
function csvCell(value) {
  if (typeof value === "number") return String(value);
  const text = FORMULA.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
