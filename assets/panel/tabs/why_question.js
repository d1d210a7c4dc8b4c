// What the "Why?" tab asks: its fields, the question that is open and how it is stopped, and the lines of its answer, which stay with the run
// that was asked about. On a page only: a file asks nothing. What was answered is drawn by why.js.

import { forgetOldAnswers } from "../core/answers_kept.js";
import { LIMITS } from "../core/constants.js";
import { addWhy } from "../core/run_lines.js";
import { update } from "../core/state.js";
import { texts } from "../core/texts.js";
import { labelOf } from "../core/tokens.js";
import { isolate } from "../core/visible.js";
import { isFinished, tokensBefore } from "../core/why.js";
import { hasIds, linesUpTo, reasonForNone } from "../core/why_request.js";
import { make } from "../view/elements.js";
import { EXAMPLES_MODEL } from "../view/example_point.js";
import { openTabOf } from "../view/tab_list.js";
import { forcedColours } from "./lens_picture.js";

/** @import { Run, Step } from "../core/run.js" */
/** @import { Panel, State, WhyAsked } from "../core/state.js" */
/** @import { LeaveOneOut, WhyLine } from "../core/why.js" */
/** @import { Parts } from "../view/panel_elements.js" */
/** @import { OpenQuestion } from "./why.js" */

const LESSON_RUN = { steps: 8, choices: 5 };

/**
 * The fields, as the chosen step allows; and what is open.
 * @param {Parts} parts
 * @param {State} state
 * @param {Step} step
 * @param {LeaveOneOut | null} found
 * @returns {OpenQuestion}
 */
export function drawWhyQuestion(parts, state, step, found) {
  const { run, chosen, why } = state;
  const asks = parts.whyTab.querySelector(".gs-why-ask");
  drawButtons(asks, state, step, found);
  drawOtherCandidates(asks.querySelector(".gs-why-against"), step, found);
  drawElsewhere(asks.querySelector(".gs-why-elsewhere"), state);
  const question = why && why.run === run && why.step === chosen ? why : null;
  const isOpen = Boolean(question) && isAsking(state);
  asks.querySelector(".gs-why-asking").hidden = !isOpen; // until the server says more
  const growing = isOpen ? question?.growing ?? null : null;
  const wasWhole = question?.growing && isFinished(run, question.growing); // before Stop came
  const next = found && !state.isWaiting ? nextSentence(asks, run, found, question?.isStopped && !wasWhole ? question : null) : "";
  const reasons = { leave_one_out: reasonForNone(run, chosen, "leave_one_out"), lens: reasonForNone(run, chosen, "lens") };
  return { isOpen, growing, next, refusal: question?.refusal ?? "", reasons };
}

/**
 * @param {Element} asks
 * @param {Run} run
 * @param {LeaveOneOut} found
 * @param {WhyAsked | null} stopped the question that was asked last
 * @returns {string} the key of a sentence about what "Ask why" would do, or about the question that was stopped
 */
function nextSentence(asks, run, found, stopped) {
  if (stopped && isFinished(run, found) && doFieldsAsk(asks, stopped.by, stopped.against)) return "why.ask.stopped";
  if (!doFieldsAsk(asks, found.by, String(found.against?.token_id ?? ""))) return "why.without.again";
  return isFinished(run, found) ? "" : "why.without.anew";
}

/** @param {State} state */
const isAsking = ({ request }) => request?.kind === "why";

// A question that was stopped has still to end on the server: until then Run is locked, and what is asked would be lost.
const isRunLocked = () => document.querySelector("#run:disabled") !== null;

/**
 * "Ask why" is "Stop" while a question is open, of whichever step. It keeps the keyboard, so it is not disabled for the moment between.
 * @param {Element} asks
 * @param {State} state
 * @param {Step} step
 * @param {LeaveOneOut | null} found
 */
function drawButtons(asks, state, step, found) {
  const { run } = state;
  const [button, more] = [asks.querySelector(".gs-why-button"), asks.querySelector(".gs-why-more")];
  const isUnanswerable = !hasIds(run, step.index) || !run.end;
  button.dataset.ask = isAsking(state) ? "whyStop" : "why";
  button.disabled = isUnanswerable && !isAsking(state);
  button.setAttribute("aria-disabled", isRunLocked() && !isAsking(state));
  const count = tokensBefore(run, step.index).length;
  const first = (found && isFinished(run, found) ? found.parts[0]?.first : null) ?? count;
  more.hidden = count - LIMITS.usuallyLeftOut < 2; // the first may be one that a model needs
  more.disabled = state.isWaiting || isRunLocked() || isUnanswerable || first < 2 || count - first >= LIMITS.leftOut; // it stays, so that nothing moves
  more.textContent = texts.translate("why.ask.more", { most: LIMITS.leftOut });
}

/**
 * What was chosen for a step stays with it; before, it is what the step was asked with.
 * @param {Showing<Step> & HTMLSelectElement & { chosen?: WeakMap<Step, string> }} against
 * @param {Step} step
 * @param {LeaveOneOut | null} found
 */
function drawOtherCandidates(against, step, found) {
  if (against.drawn === step && against.language === texts.language()) return;
  const wanted = against.chosen?.get(step) ?? found?.against?.token_id ?? "";
  Object.assign(against, { drawn: step, language: texts.language() });
  const others = step.candidates.filter(({ token_id: id }) => id !== step.picked.token_id && id >= 0);
  /** @type {(text: string, value: string | number) => HTMLOptionElement} */
  const option = (text, value) => Object.assign(make("option", "", text), { value });
  against.replaceChildren(option(texts.translate("why.against.none"), ""), ...others.map((each) => option(isolate(labelOf(each)), each.token_id)));
  against.value = String(wanted);
}

/**
 * How far a question has come does not stand beside another step than its own.
 * @param {Element} sentence
 * @param {State} state
 */
function drawElsewhere(sentence, state) {
  const { run, chosen, why } = state;
  const isElsewhere = isAsking(state) && (why?.run !== run || why.step !== chosen);
  sentence.toggleAttribute("hidden", !isElsewhere);
  if (isElsewhere) texts.write(sentence, why?.run === run ? "why.ask.elsewhere" : "why.ask.other_run", { step: Number(why?.step) + 1 });
}

/**
 * @param {Element} asks
 * @param {string} by
 * @param {string} against
 */
function doFieldsAsk(asks, by, against) {
  const [field, other] = ["by", "against"].map((name) => asks.querySelector(`.gs-why-${name}`).value);
  return field === by && other === against;
}

/**
 * Whether more was left out than is usual: so it is asked again, and the smaller answer does not take the larger one's place.
 * @param {Run} run
 * @param {Step} step
 * @param {LeaveOneOut | undefined} found
 */
function leftOutMoreThanUsual(run, step, found) {
  const [part] = found?.parts ?? [];
  return Boolean(part) && part.first + part.count <= tokensBefore(run, step.index).length - LIMITS.usuallyLeftOut;
}

/**
 * Ask about the chosen step. `last`: how many tokens before it are left out; as many as were, or as is usual, where none is given. Each
 * question has a number, which the lines of its answer bear.
 * @param {Parts} parts
 * @param {State} state
 * @param {Panel} panel
 * @param {number} [last]
 */
function askWhy(parts, state, panel, last) {
  const { run, chosen } = state;
  const step = run.steps[chosen];
  if (!step || isRunLocked()) return;
  const count = tokensBefore(run, chosen).length;
  if (count === LIMITS.usuallyLeftOut + 1) last = count; // the button for more is not shown for a single token
  if (!last && leftOutMoreThanUsual(run, step, run.why.get(`leave_one_out ${chosen}`)?.leave_one_out)) last = LIMITS.leftOut;
  const against = parts.whyTab.querySelector(".gs-why-against").value;
  const number = (state.why?.number ?? 0) + 1;
  const question = { run: linesUpTo(run, step), step: chosen, by: parts.whyTab.querySelector(".gs-why-by").value, number: String(number) };
  const more = { ...(against ? { against: Number(against) } : {}), ...(last ? { last } : {}) };
  if (panel.ask("why", { ...question, ...more })) update(state, { why: { run: state.whole, step: chosen, by: question.by, against, number, refusal: "" } });
}

/**
 * The chosen step's own button: the tab comes into sight, and asks what was not asked yet.
 * @param {Parts} parts
 * @param {State} state
 * @param {Panel} panel
 * @param {(act: () => void) => void} whenUnlocked
 */
function openWhy(parts, state, panel, whenUnlocked) {
  const { run, chosen } = state;
  panel.openTab("why");
  parts.whyTab.querySelector(".gs-why-word").append(parts.questions.word); // what is said of the question
  const found = run.why.get(`leave_one_out ${chosen}`)?.leave_one_out ?? null;
  drawWhyQuestion(parts, state, run.steps[chosen], found); // the question alone: a screen reader would read out first that there is no answer yet
  parts.root.querySelector("#gs-tab-why").focus({ preventScroll: true });
  if (found || parts.whyTab.querySelector(".gs-why-button").disabled) return;
  whenUnlocked(() => {
    if (state.run !== run || state.chosen !== chosen) return; // the reader has gone on
    askWhy(parts, state, panel);
    if (isAsking(state) && state.why) update(state, { why: { ...state.why, opens: true } });
  });
}

/**
 * The lesson's examples: each is run, and its first step asked about, where the reader still looks at it.
 * @param {Parts} parts
 * @param {State} state
 * @param {Panel} panel
 * @param {(act: () => void) => void} whenUnlocked
 */
function listenToExamples(parts, state, panel, whenUnlocked) {
  /** @type {(run: Run) => void} */
  const askAbout = (run) => {
    if (state.whole === run && state.chosen === 0 && openTabOf(parts) === "why") openWhy(parts, state, panel, whenUnlocked);
  };
  /** @type {(run: Run) => number} */
  const stepToShow = (run) => {
    setTimeout(() => whenUnlocked(() => askAbout(run))); // once that step is chosen
    return 0;
  };
  for (const button of parts.root.querySelectorAll(".gs-why-lesson [data-prompt]")) {
    button.hidden = !state.models.includes(EXAMPLES_MODEL);
    const request = { model: EXAMPLES_MODEL, prompt: button.dataset.prompt, ...LESSON_RUN, forced: [] };
    const run = () => panel.ask("branch", request, { kind: "run", placeToShow: "why", fieldsFollow: true, stepToShow });
    button.addEventListener("click", () => { if (!parts.root.matches('[aria-busy="true"]')) whenUnlocked(run); });
  }
}

/** The page's own Stop, which may be out of sight. */
const stopAsking = () => document.querySelector("#stop:enabled")?.click();

/**
 * A second click, or a key that is held, is meant for the button as it was: it does not stop what the first has asked.
 * @param {Parts} parts
 * @param {State} state
 */
function listenToStop(parts, state) {
  const button = parts.whyTab.querySelector(".gs-why-button");
  button.addEventListener("click", (/** @type {MouseEvent} */ event) => { if (event.detail > 1) event.stopPropagation(); });
  button.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => { if (event.repeat) event.preventDefault(); });
  parts.root.addEventListener("keydown", (/** @type {PageEvent<KeyboardEvent>} */ { key, target }) => {
    if (key === "Escape" && isAsking(state) && target.closest("#gs-page-why, #gs-tab-why")) stopAsking();
  });
}

/**
 * What is to be done as soon as Run is not locked.
 * @param {Parts} parts
 * @param {Panel} panel
 * @returns {(act: () => void) => void}
 */
function startWaiting(parts, panel) {
  /** @type {(() => void) | null} */
  let waiting = null;
  new MutationObserver((changes) => {
    if (!changes.some(({ target }) => target instanceof Element && target.id === "run")) return;
    if (openTabOf(parts) === "why") panel.scheduleTab();
    if (isRunLocked()) return;
    const act = waiting;
    waiting = null; // before what is done waits for something itself
    act?.();
  }).observe(document.body, { attributeFilter: ["disabled"], subtree: true });
  return (act) => { if (isRunLocked()) waiting = act; else act(); };
}

/**
 * A line of the answer takes the place of what came of it before. A model without a lens says so. A line of another question than the one that was
 * asked last is dropped: it would be taken for this one's.
 * @param {Parts} parts
 * @param {State} state
 * @param {Panel} panel
 */
export function listenToWhy(parts, state, panel) {
  const against = parts.whyTab.querySelector(".gs-why-against");
  against.chosen = new WeakMap();
  against.addEventListener("change", () => against.chosen.set(against.drawn, against.value));
  parts.whyTab.querySelector(".gs-why-ask").addEventListener("change", panel.schedule);
  listenToStop(parts, state);
  const whenUnlocked = startWaiting(parts, panel);
  listenToExamples(parts, state, panel, whenUnlocked);
  forcedColours.addEventListener("change", panel.schedule); // they have no picture of a lens
  parts.root.addEventListener("why", (/** @type {CustomEvent<{ line?: string, number?: string, refusal?: string }>} */ { detail: { line, number, refusal } }) => {
    if (number !== String(state.why?.number) || !state.why) return;
    /** @type {WhyLine | null} */
    const record = line ? JSON.parse(line) : null;
    if (record) {
      addWhy(state.why.run, record);
      forgetOldAnswers(state.why.run);
      update(state, { why: { ...state.why, growing: record.leave_one_out ?? null } });
    }
    if (refusal !== undefined) update(state, { why: { ...state.why, refusal } });
    if (state.why.opens) update(state, { soughtTab: "why" }); // once it is as tall as its answer
    panel.scheduleTab();
    if (state.why.opens && record?.leave_one_out) update(state, { why: { ...state.why, opens: false } });
  });
  return {
    openWhy: () => openWhy(parts, state, panel, whenUnlocked),
    why: () => askWhy(parts, state, panel),
    whyMore: () => {
      askWhy(parts, state, panel, LIMITS.leftOut);
      parts.whyTab.querySelector(".gs-why-button").focus({ preventScroll: true }); // it is Stop now, and this one is disabled
    },
    whyStop: stopAsking,
  };
}
