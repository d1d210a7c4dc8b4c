// The server, as a phone reaches it whose network comes and goes. It asks for the state with the version that it has, and the server answers
// once there is another. An answer is sent until the server has it: the same one twice counts once. Draws nothing.

const WAIT_MILLISECONDS = 25_000; // the server answers within 15 s, and the network takes its time
const SEND_MILLISECONDS = 8_000;
const MOST_PAUSE = 3_000;

/** @import { VoteRefusal, VoteResult, VoteScore } from "../panel/core/class_score.js" */

/** @typedef {{ error: VoteRefusal, phase?: undefined }} Refusal */

/** @typedef {{ place: number, text?: undefined } | { text: string, place?: undefined }} Answer a student's answer: a candidate, or what was typed */

/** @typedef {Answer & { number: number }} NumberedAnswer with the number of its question */

/**
 * @typedef {object} Question
 * @property {number} number
 * @property {number} step counted from 1
 * @property {string} text
 * @property {string[]} labels
 * @property {number | null} left the seconds that are left, where the teacher set a time
 */

/** @typedef {{ version: number, score: VoteScore, error?: undefined }} StateBase */

/** @typedef {{ rank: number, is_right: boolean, is_bound: boolean }} Worth of an answer; a bound where it is no candidate */

/** @typedef {StateBase & { phase: "waiting", number?: undefined, left?: undefined }} WaitingState no question was asked yet */

/** @typedef {StateBase & Question & { phase: "open", answer: Answer | null }} OpenState `answer` is the student's own */

/** @typedef {{ answer: Answer, worth: Worth } | { answer: null, worth: null }} Answered */

/** @typedef {StateBase & Question & Answered & { phase: "revealed", result: VoteResult }} RevealedState */

/** @typedef {WaitingState | OpenState | RevealedState} StudentState what a student sees: decoding/serving/class_vote.py */

/** @typedef {{ version: number, phase: "ended", error?: undefined }} EndedState */

/**
 * @param {string} code
 * @param {string} id
 * @param {{ onState: (state: StudentState) => void, onOffline: (isOffline: boolean) => void, onRefusal: (error: VoteRefusal) => void, onEnd: (error: VoteRefusal | "") => void }} handlers
 */
export function connect(code, id, handlers) {
  const link = { version: /** @type {number | null} */ (null), isOver: false, answer: /** @type {NumberedAnswer | null} */ (null), isSending: false };
  let wake = () => {};

  /**
   * A pause that ends at once when the network is back, or the phone is looked at again.
   * @type {(milliseconds: number) => Promise<null>}
   */
  const pause = (milliseconds) => new Promise((done) => {
    const timer = setTimeout(done, milliseconds);
    wake = () => { clearTimeout(timer); done(null); };
  });
  for (const name of ["online", "pageshow", "focus"]) window.addEventListener(name, () => wake());

  /**
   * An answer of the server, or null where there was none: the network is gone, or a proxy answered for the server.
   * @param {string} path
   * @param {object | null} body
   * @param {number} milliseconds
   * @returns {Promise<StudentState | EndedState | Refusal | null>}
   */
  async function request(path, body, milliseconds) {
    const options = { headers: { "x-vote-id": id, ...(body && { "content-type": "application/json" }) }, signal: AbortSignal.timeout(milliseconds) };
    try {
      const answer = await fetch(`${encodeURIComponent(code)}/${path}`, body ? { ...options, method: "POST", body: JSON.stringify(body) } : options);
      return await answer.json();
    } catch {
      return null;
    }
  }

  /** @param {StudentState} state */
  function showState(state) {
    if (link.version !== null && state.version < link.version) return; // an older answer that was overtaken
    link.version = state.version;
    handlers.onState(state);
  }

  /** @param {VoteRefusal | ""} error */
  function end(error) {
    link.isOver = true;
    handlers.onEnd(error);
  }

  // One request at a time, for as long as the page is open.
  async function listen() {
    let failures = 0;
    while (!link.isOver) {
      const isJoining = link.version === null;
      const state = isJoining ? await request("join", {}, SEND_MILLISECONDS) : await request(`state?since=${link.version}`, null, WAIT_MILLISECONDS);
      if (link.isOver) return;
      const isFailed = state === null || state.error === "too_fast";
      failures = isFailed ? failures + 1 : 0;
      handlers.onOffline(isFailed);
      if (isFailed) await pause(Math.min(MOST_PAUSE, 250 * 2 ** failures) * (0.5 + Math.random()));
      else if (state.phase === "ended") return end("");
      else if (!state.error) showState(state);
      else if (state.error === "no_right" && !isJoining) link.version = null; // joins again
      else return end(isJoining ? state.error : "");
    }
  }

  // The last answer is sent; one that is overtaken by another need not arrive.
  async function sendAnswers() {
    link.isSending = true;
    while (link.answer && !link.isOver) {
      const sent = link.answer;
      const state = await request("answer", sent, SEND_MILLISECONDS);
      handlers.onOffline(state === null);
      if (state === null || state.error === "too_fast") await pause(1000 * (0.5 + Math.random()));
      else if (link.answer === sent) link.answer = null;
      if (state?.error) {
        if (state.error !== "too_fast") handlers.onRefusal(state.error);
      } else if (state && state.phase !== "ended") showState(state); // `listen` hears of the end
    }
    link.isSending = false;
  }

  listen();
  return {
    /** @param {NumberedAnswer} answer */
    submit(answer) {
      link.answer = answer;
      if (!link.isSending) sendAnswers();
      else wake();
    },
    answerOnItsWay: () => link.answer,
  };
}
