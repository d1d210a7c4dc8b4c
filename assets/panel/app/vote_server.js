// What the teacher's page asks the server of a class that votes. The code and the secret are kept for this tab, so that a reload goes on.
// Draws nothing.

import { LIMITS } from "../core/constants.js";
import { mostBeyondCandidates } from "../core/guesses.js";
import { withSessionStorage } from "./stored_runs.js";

/** @import { Candidate, Run, Step } from "../core/run.js" */

const TEACHER = "greedyscope.vote.teacher";
const PATIENCE_MILLISECONDS = 8_000;
const LISTENING_MILLISECONDS = 25_000; // the server answers within 15 s
const TRIES_PAUSE = 700;

/** @typedef {{ code: string, secret: string, entry: number | null, steps: Record<number, number>, seconds: string }} StoredSession `steps` are those of the run, by the numbers of their questions */

/** @typedef {{ number: number, step: number, text: string, labels: string[], seconds: number | null }} PhoneQuestion what the phones are told of a step */

/** @typedef {{ run: Run, step: Step, number: number, options: Candidate[], message: PhoneQuestion, sending: Promise<void> }} Question */

/**
 * @typedef {object} ClassState what the server tells of the class: decoding/serving/class_vote.py
 * @property {"waiting" | "open" | "revealed" | "ended"} phase
 * @property {number} students who have joined
 * @property {number} answered
 * @property {number} next the number of the next question
 * @property {number | null} left the seconds that are left, where the teacher set a time
 */

/** @returns {StoredSession | null} */
export function storedSession() {
  return withSessionStorage((tab) => JSON.parse(tab.getItem(TEACHER) ?? "null"));
}

/** @param {StoredSession | null} session */
export function storeSession(session) {
  withSessionStorage((tab) => (session ? tab.setItem(TEACHER, JSON.stringify(session)) : tab.removeItem(TEACHER)));
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
  const options = { headers: { "x-vote-secret": secret, "content-type": "application/json" }, signal: AbortSignal.timeout(milliseconds) };
  try {
    const answer = await fetch(new URL(`vote/${path}`, document.baseURI), body ? { ...options, method: "POST", body: JSON.stringify(body) } : options);
    return await answer.json();
  } catch {
    return { error: "unreachable" };
  }
}

/**
 * Repeats a request until the server answers or the caller no longer wants the answer. The server may receive the request twice,
 * so use it only where that changes nothing.
 * @param {StoredSession | null} session
 * @param {string} path
 * @param {object | null} body
 * @param {{ isWanted: () => boolean, onError: (error: string) => void }} handlers
 * @returns {Promise<any>} null where it is not wanted any more, and where there is no session
 */
export async function askUntilAnswered(session, path, body, { isWanted, onError }) {
  while (session && isWanted()) {
    const answer = await askVote(`${session.code}/${path}`, body, session.secret);
    const isPassing = answer.error === "unreachable" || answer.error === "too_fast";
    onError(isPassing ? answer.error : "");
    if (!isPassing) return answer;
    await new Promise((done) => setTimeout(done, TRIES_PAUSE));
  }
  return null;
}

/**
 * Hears how many have joined and answered, for as long as the vote lasts.
 * @param {StoredSession} session
 * @param {{ isWanted: () => boolean, onState: (state: ClassState) => void, onError: (error: string) => void }} handlers
 */
export async function followClass({ code, secret }, { isWanted, onState, onError }) {
  let version = "";
  while (isWanted()) {
    const state = await askVote(`${code}/class?since=${version}`, null, secret, LISTENING_MILLISECONDS);
    if (!isWanted()) return;
    onError(state.error ?? "");
    if (state.error === "unknown" || state.error === "no_right") return;
    if (state.error) await new Promise((done) => setTimeout(done, TRIES_PAUSE));
    else {
      ({ version } = state);
      onState(state);
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
    beyond: mostBeyondCandidates(step),
  };
}
