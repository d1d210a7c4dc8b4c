// What the teacher's page asks the server of a class that votes. The code and the secret are kept for this tab, so that a reload goes on.
// Draws nothing.

import { LIMITS } from "../core/constants.js";
import { mostBeyond } from "../core/guesses.js";
import { withSessionStorage } from "./stored_runs.js";

/** @import { Candidate, Run, Step } from "../core/run.js" */

const TEACHER = "greedyscope.vote.teacher";
const PATIENCE_MILLISECONDS = 8_000;
const LISTENING_MILLISECONDS = 25_000; // the server answers within 15 s
const TRIES_PAUSE = 700;

/** @typedef {{ code: string, secret: string, entry: number | null, steps: Record<number, number>, seconds: string }} Kept `steps` are those of the run, by the numbers of their questions */

/** @typedef {{ number: number, step: number, text: string, labels: string[], seconds: number | null }} Said what the phones are told of a step */

/** @typedef {{ run: Run, step: Step, number: number, options: Candidate[], said: Said, asked: Promise<void> }} Question */

/**
 * @typedef {object} ClassState what the server tells of the class: decoding/serving/class_vote.py
 * @property {"waiting" | "open" | "revealed" | "ended"} phase
 * @property {number} students who have joined
 * @property {number} answered
 * @property {number} next the number of the next question
 * @property {number | null} left the seconds that are left, where the teacher set a time
 */

/** @returns {Kept | null} */
export function keptVote() {
  return withSessionStorage((tab) => JSON.parse(tab.getItem(TEACHER) ?? "null"));
}

/** @param {Kept | null} kept */
export function keepVote(kept) {
  withSessionStorage((tab) => (kept ? tab.setItem(TEACHER, JSON.stringify(kept)) : tab.removeItem(TEACHER)));
}

/**
 * One request. Its answer, or `{ error }`; "unreachable" where there was none.
 * @param {string} path
 * @param {object | null} body
 * @param {string} [secret]
 * @param {number} [milliseconds]
 * @returns {Promise<any>}
 */
export async function askVote(path, body, secret = "", milliseconds = PATIENCE_MILLISECONDS) {
  const given = { headers: { "x-vote-secret": secret, "content-type": "application/json" }, signal: AbortSignal.timeout(milliseconds) };
  try {
    const answer = await fetch(new URL(`vote/${path}`, document.baseURI), body ? { ...given, method: "POST", body: JSON.stringify(body) } : given);
    return await answer.json();
  } catch {
    return { error: "unreachable" };
  }
}

/**
 * Repeats a request until the server answers or the caller no longer wants the answer. The server may receive the request twice,
 * so use it only where that changes nothing.
 * @param {Kept | null} kept
 * @param {string} path
 * @param {object | null} body
 * @param {{ isWanted: () => boolean, failed: (error: string) => void }} on
 * @returns {Promise<any>} null where it is not wanted any more, and where there is no session
 */
export async function insistOnVote(kept, path, body, { isWanted, failed }) {
  while (kept && isWanted()) {
    const answer = await askVote(`${kept.code}/${path}`, body, kept.secret);
    const isPassing = answer.error === "unreachable" || answer.error === "too_fast";
    failed(isPassing ? answer.error : "");
    if (!isPassing) return answer;
    await new Promise((done) => setTimeout(done, TRIES_PAUSE));
  }
  return null;
}

/**
 * Hears how many have joined and answered, for as long as the vote lasts.
 * @param {Kept} kept
 * @param {{ isWanted: () => boolean, told: (state: ClassState) => void, failed: (error: string) => void }} on
 */
export async function listenToVote({ code, secret }, { isWanted, told, failed }) {
  let version = "";
  while (isWanted()) {
    const state = await askVote(`${code}/class?since=${version}`, null, secret, LISTENING_MILLISECONDS);
    if (!isWanted()) return;
    failed(state.error ?? "");
    if (state.error === "unknown" || state.error === "no_right") return;
    if (state.error) await new Promise((done) => setTimeout(done, TRIES_PAUSE));
    else {
      ({ version } = state);
      told(state);
      await new Promise((done) => setTimeout(done, 100)); // 35 answers within a second are ten drawings
    }
  }
}

/**
 * The model's numbers, in the order in which the candidates were offered. Of other tokens a bound is known.
 * @param {Pick<Question, "step" | "options">} question
 */
export function numbersOf({ step, options }) {
  /** @type {(option: Candidate) => string | null} */
  const text = (option) => (option.bytes === undefined && option.text.length <= LIMITS.voteAnswer ? option.text.toWellFormed() : null);
  return {
    options: options.map((option) => ({ text: text(option), rank: option.rank, probability: option.probability })),
    picked: options.findIndex(({ rank }) => rank === step.picked.rank),
    beyond: mostBeyond(step),
  };
}
