// The class votes: the teacher's side of it, within "Predict, then reveal". Each hidden step becomes a question for the phones; "Reveal" sends
// the model's numbers to the server and shows the class's answers beside them. Only a page with a server behind it has this module.

import { shuffledOptions } from "../core/guesses.js";
import { LIMITS } from "../core/constants.js";
import { textBefore } from "../core/run.js";
import { texts } from "../core/texts.js";
import { labelOf } from "../core/tokens.js";
import { votesImage } from "../view/vote_image.js";
import { drawCounts, drawJoining, drawLabels, drawLeft, drawTimes, drawVotes, findVoteParts } from "../view/vote_view.js";
import { actionButton } from "../view/elements.js";
import { saveVotes } from "./vote_files.js";
import { askUntilAnswered, askVote, followClass, numbersOf, storedSession, storeSession } from "./vote_server.js";

/** @import { VoteResult } from "../core/class_score.js" */
/** @import { Candidate, Run, Step } from "../core/run.js" */
/** @import { History } from "../core/history.js" */
/** @import { Panel, State } from "../core/state.js" */
/** @import { Parts } from "../view/panel_elements.js" */
/** @import { ClassState, PhoneQuestion, Question, StoredSession } from "./vote_server.js" */

/**
 * @typedef {object} Vote
 * @property {StoredSession | null} session while it lasts
 * @property {boolean} isBegun
 * @property {Question | null} question
 * @property {number} nextNumber the number of the next question
 * @property {Pick<ClassState, "students" | "answered"> & Partial<ClassState>} classState
 * @property {{ run: Run | undefined, index: number, result: VoteResult }[]} results
 * @property {boolean} isRevealing
 * @property {boolean} isEnding
 * @property {number | null} endsAt
 */

const GRACE_MILLISECONDS = 1_000; // for an answer that is on its way when the time is over

/**
 * @param {Parts} parts
 * @param {State} state
 * @param {History} history
 * @param {Panel} panel
 * @param {ReturnType<typeof import("./predict.js").startPredicting>} predict
 */
export function startVote(parts, state, history, panel, predict) {
  const slots = findVoteParts(parts);
  parts.root.querySelector(".gs-predict").after(slots.box);
  parts.root.append(slots.join, slots.summary);
  const opener = actionButton("gs-button", "", "vote", "open");
  opener.dataset.text = "vote.start";
  parts.root.querySelector('.gs-lesson-start [data-predict="start"]').after(opener);
  /** @type {Vote} */
  const vote = { session: null, isBegun: false, question: null, nextNumber: 0, classState: { students: 0, answered: 0 }, results: [], isRevealing: false, isEnding: false, endsAt: null };

  /** @type {(error: string) => void} */
  const showProblem = (error) => {
    const sentence = error ? texts.translate(error.includes(".") ? error : `vote.error.${error}`) : "";
    if (slots.problem.textContent !== sentence) slots.problem.textContent = sentence;
    slots.box.hidden = !sentence && !vote.session;
  };
  // What is said of the network goes when it is back; anything else stays.
  let isOffline = false;
  /** @type {(error: string) => void} */
  const showNetworkProblem = (error) => {
    if (error || isOffline) showProblem(error);
    isOffline = Boolean(error);
  };
  // What is sent for a session is not wanted any more when it has ended.
  const askServer = (/** @type {string} */ path, /** @type {object | null} */ body) => {
    const { session } = vote;
    return askUntilAnswered(session, path, body, { isWanted: () => vote.session === session, onError: showNetworkProblem });
  };
  /** @type {(run: Run, index: number) => VoteResult | null} */
  const resultAt = (run, index) => vote.results.findLast((each) => each.run === run && each.index === index)?.result ?? null;

  // ---- from the opening to the end

  async function openVote() {
    if (vote.session) return slots.join.showModal();
    opener.disabled = true;
    const opened = await askVote("open", {});
    opener.disabled = false;
    if (opened.error) return showProblem(opened.error);
    vote.results = [];
    startSession({ code: opened.code, secret: opened.secret, entry: null, steps: {}, seconds: "" });
    predict.start();
    slots.join.showModal();
  }

  /** @param {StoredSession} session */
  function startSession(session) {
    Object.assign(vote, { session, isBegun: false, isEnding: false, question: null, nextNumber: 0, endsAt: null });
    storeSession(session);
    showProblem("");
    slots.time.value = session.seconds;
    parts.root.classList.add("gs-voting");
    predict.setVote({ draw });
    askServer("qr", { address: new URL("vote/", document.baseURI).href }).then((qr) => {
      if (qr && !qr.error) drawJoining(slots, session.code, qr);
    });
    followClass(session, {
      isWanted: () => vote.session === session && !vote.isEnding, // the server knows nothing of a session that has ended
      onState: showClassState,
      onError: (error) => (error === "unknown" || error === "no_right" ? leaveSession("vote.lost") : showNetworkProblem(error)),
    });
  }

  // The class's answers are on this page from now on, and nowhere else.
  async function endVote() {
    vote.isEnding = true;
    const ended = await askServer("end", {});
    if (!ended) return;
    leaveSession("");
    showResults(true);
  }

  /** @param {string} error */
  function leaveSession(error) {
    vote.session = null;
    storeSession(null);
    slots.join.close();
    parts.root.classList.remove("gs-voting");
    drawVotes(parts, slots, null, null);
    predict.setVote(null);
    predict.stop();
    showProblem(error);
  }

  // A page that was reloaded goes on where it was.
  async function resume() {
    const session = storedSession();
    if (!session) return;
    vote.session = session;
    const [{ results, error }, now] = [await askServer("results", null), await askServer("class", null)];
    if (error || now.error) return leaveSession("vote.lost");
    const entry = history.entries.find(({ number }) => number === session.entry);
    if (entry && history.shown !== entry) panel.show(entry);
    vote.results = results.map((/** @type {VoteResult} */ result) => ({ run: entry?.run, index: session.steps[result.number], result }));
    startSession(session);
    const isOpen = now.phase === "open" && Boolean(entry);
    Object.assign(vote, { isBegun: now.phase !== "waiting", nextNumber: isOpen ? now.next - 1 : now.next });
    predict.start();
    predict.resume(vote.results.filter(({ index }) => index !== undefined).length, isOpen);
    showClassState(now);
    if (!entry && vote.isBegun) showProblem("vote.gone");
    if (!vote.isBegun) slots.join.showModal();
  }

  // ---- a step

  /** @param {Step} step */
  function askClass(step) {
    const { whole: run } = state;
    const options = shuffledOptions(step);
    /** @type {(option: Candidate) => string} */
    const label = (option) => Array.from(labelOf(option).toWellFormed()).slice(0, LIMITS.voteAnswer / 2).join("");
    const seconds = Number(slots.time.value) || null;
    if (vote.question && vote.question.run !== run && !vote.results.some(({ result }) => result.number === vote.question?.number)) showProblem("vote.dropped");
    const number = vote.nextNumber++;
    const message = { number, step: step.index + 1, text: textBefore(run, step.index).slice(-LIMITS.voteText).toWellFormed(), labels: options.map(label), seconds };
    vote.question = { run, step, number, options, message, sending: sendQuestion(message) };
    const entry = history.shown.number;
    const session = /** @type {StoredSession} */ (vote.session); // while it is null, nothing is asked
    Object.assign(session, { entry, steps: { ...(session.entry === entry && session.steps), [number]: step.index }, seconds: slots.time.value });
    storeSession(session);
  }

  // Also for the step that is open.
  function setTime() {
    if (!vote.session) return; // it was lost, and the field is still there
    Object.assign(vote.session, { seconds: slots.time.value });
    storeSession(vote.session);
    const { question } = vote;
    if (question?.step !== predict.stepToGuess() || !question || vote.isRevealing) return;
    question.message = { ...question.message, seconds: Number(slots.time.value) || null };
    question.sending = question.sending.then(() => sendQuestion(question.message));
  }

  /** @param {PhoneQuestion} message */
  async function sendQuestion(message) {
    const answer = await askServer("ask", message);
    if (answer?.error === "late") resynchronize(); // another page of this teacher has asked something else
    else if (answer?.error) showProblem(answer.error);
    else if (answer) showClassState(answer);
  }

  async function resynchronize() {
    const now = await askServer("class", null);
    if (!now || now.error) return;
    Object.assign(vote, { nextNumber: now.next, question: null });
    panel.schedule();
  }

  async function reveal() {
    const { question } = vote;
    if (!question || vote.isRevealing || question.step !== predict.stepToGuess()) return;
    vote.isRevealing = true;
    vote.endsAt = null;
    slots.reveal.disabled = true;
    await question.sending;
    const answer = await askServer("reveal", { number: question.number, ...numbersOf(question) });
    vote.isRevealing = slots.reveal.disabled = false;
    if (answer?.error === "late") return resynchronize();
    if (answer?.error) return showProblem(answer.error);
    if (!answer || question.step !== predict.stepToGuess()) return;
    showProblem(""); // of a question before this one
    vote.results.push({ run: question.run, index: question.step.index, result: answer.result });
    showClassState(answer);
    predict.reveal();
    focusOn(predict.isOver() ? slots.results : slots.next);
  }

  /**
   * At once, not with the next drawing: the button that was pressed goes. The code and the question above it come into sight too.
   * @param {HTMLElement} button
   */
  function focusOn(button) {
    slots.ask.hidden = button.hidden = false;
    button.focus();
    slots.code.scrollIntoView({ block: "nearest" });
  }

  /** @param {ClassState} now */
  function showClassState(now) {
    vote.classState = now;
    vote.endsAt = now.left === null || vote.isRevealing ? null : performance.now() + now.left * 1000;
    drawCounts(slots, now, now.phase === "open");
    drawTime();
  }

  function drawTime() {
    if (!vote.session) return;
    const left = vote.endsAt === null ? null : vote.endsAt - performance.now();
    drawLeft(slots, left === null ? null : Math.max(0, left / 1000));
    if (left !== null && left < -GRACE_MILLISECONDS) reveal();
  }

  /**
   * With every drawing of the panel.
   * @param {Step | undefined} step
   * @param {boolean} isHidden
   */
  function draw(step, isHidden) {
    const isAsked = vote.question?.run === state.whole && vote.question?.step === step;
    if (isHidden && step && vote.isBegun && !isAsked) askClass(step);
    drawLabels(slots, isHidden && vote.isBegun ? (vote.question?.message.labels ?? []) : []);
    slots.reveal.hidden = !isHidden;
    slots.timed.hidden = predict.isOver();
    slots.next.hidden = isHidden || predict.isOver();
    slots.ask.hidden = !vote.isBegun;
    drawCounts(slots, vote.classState, vote.classState.phase === "open");
    const result = isHidden ? null : resultAt(state.whole, state.chosen);
    if (drawVotes(parts, slots, result, result && state.run.steps[state.chosen])) panel.schedule();
    slots.results.hidden = !isAnswered();
  }

  const isAnswered = () => vote.results.some(({ result }) => result.score.answers > 0);

  // ---- afterwards

  /** @param {boolean} isEnded */
  function showResults(isEnded) {
    slots.ended.hidden = !isEnded;
    if (!isAnswered()) return;
    slots.unsaved.textContent = "";
    slots.picture.replaceChildren(votesImage(vote.results.map(({ result }) => result)));
    if (!slots.summary.open) slots.summary.showModal();
  }

  /** @type {Record<string, () => void>} */
  const actions = {
    reveal,
    open: openVote,
    end: endVote,
    next() {
      predict.next();
      focusOn(slots.reveal);
    },
    show: () => slots.join.showModal(),
    results: () => showResults(false),
    begin: () => slots.join.close(),
    close: () => slots.summary.close(),
  };
  slots.join.addEventListener("close", () => {
    vote.isBegun = true;
    panel.schedule();
    if (vote.session && predict.stepToGuess()) focusOn(slots.reveal);
  });
  parts.root.addEventListener("click", (/** @type {PageEvent<MouseEvent>} */ { target }) => {
    const { vote: move, voteFile: form } = target.closest("[data-vote], [data-vote-file]")?.dataset ?? {};
    if (move) actions[move]();
    if (form) saveVotes(slots, vote.results.map(({ result }) => result), form);
  });
  slots.time.addEventListener("change", setTime);
  texts.onChange(() => drawTimes(slots));
  texts.fillTexts(parts.root);
  drawTimes(slots);
  setInterval(drawTime, 250);
  addEventListener("beforeunload", (event) => { if (vote.session) event.preventDefault(); }); // a closed tab leaves the class waiting
  setTimeout(resume); // after the panel has the runs that the tab keeps
}
