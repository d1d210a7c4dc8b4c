// What the "Why?" tab asks: its fields, the question that is open, and the lines of its answer, which stay with the run that was asked about.
// On a page only: a file asks nothing. What was answered is drawn by why.js.

import { LIMITS } from "../core/constants.js";
import { addWhy } from "../core/run_lines.js";
import { update } from "../core/state.js";
import { texts } from "../core/texts.js";
import { labelOf } from "../core/tokens.js";
import { isolate } from "../core/visible.js";
import { isFinished, linesUpTo, tokensBefore } from "../core/why.js";
import { make } from "../view/elements.js";
import { openTab } from "../view/tab_list.js";
import { drawLensPicture } from "./lens_picture.js";
import { drawWhy } from "./why.js";

/** @import { Step } from "../core/run.js" */
/** @import { Panel, State } from "../core/state.js" */
/** @import { LeaveOneOut } from "../core/why.js" */
/** @import { Parts } from "../view/panel_elements.js" */
/** @import { OpenQuestion } from "./why.js" */

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
  drawFields(asks, state, step, found);
  const question = why && why.run === run && why.step === chosen ? why : null;
  const isOpen = Boolean(question) && state.request?.kind === "why";
  // Our own server says beside the question how far it has come; the engine of a browser says nothing.
  const growing = isOpen && !parts.questions.word.textContent ? question?.growing ?? null : null;
  const isAnotherChoice = Boolean(found) && !state.isWaiting && isAnotherQuestion(asks, found);
  return { isOpen, growing, isAnotherChoice, refusal: question?.refusal ?? "" };
}

/**
 * @param {Element} asks
 * @param {State} state
 * @param {Step} step
 * @param {LeaveOneOut | null} found
 */
function drawFields(asks, { run, isWaiting }, step, found) {
  const against = asks.querySelector(".gs-why-against");
  const more = asks.querySelector(".gs-why-more");
  const isUnanswerable = step.picked.token_id < 0 || !run.end;
  asks.querySelector('[data-ask="why"]').disabled = isUnanswerable;
  if (against.step !== step || against.language !== texts.language()) {
    const wanted = against.step === step ? against.value : found?.against?.token_id ?? ""; // as the step was asked, until another is chosen
    Object.assign(against, { step, language: texts.language() });
    const others = step.candidates.filter(({ token_id: id }) => id !== step.picked.token_id && id >= 0);
    /** @type {(text: string, value: string | number) => HTMLOptionElement} */
    const option = (text, value) => Object.assign(make("option", "", text), { value });
    against.replaceChildren(option(texts.translate("why.against.none"), ""), ...others.map((each) => option(isolate(labelOf(each)), each.token_id)));
    against.value = String(wanted);
  }
  const count = tokensBefore(run, step.index).length;
  const first = (found && isFinished(run, found) ? found.parts[0]?.first : null) ?? count;
  more.hidden = count - LIMITS.usuallyLeftOut < 2; // the first may be one that a model needs
  more.disabled = isWaiting || isUnanswerable || first < 2 || count - first >= LIMITS.leftOut; // it stays, so that nothing moves
  more.textContent = texts.translate("why.ask.more", { most: LIMITS.leftOut });
}

/**
 * Whether the fields ask for something else than the answer tells.
 * @param {Element} asks
 * @param {LeaveOneOut | null} found
 */
function isAnotherQuestion(asks, found) {
  const [by, against] = ["by", "against"].map((name) => asks.querySelector(`.gs-why-${name}`).value);
  return by !== found?.by || against !== String(found?.against?.token_id ?? "");
}

/**
 * Ask about the chosen step. `last`: how many tokens before it are left out; as many as is usual where it is not said. Each question has a
 * number, which the lines of its answer bear.
 * @param {Parts} parts
 * @param {State} state
 * @param {Panel} panel
 * @param {number} [last]
 */
function askWhy(parts, state, panel, last) {
  const { run, chosen } = state;
  const step = run.steps[chosen];
  if (!step) return;
  const against = parts.whyTab.querySelector(".gs-why-against").value;
  const number = (state.why?.number ?? 0) + 1;
  const question = { run: linesUpTo(run, step), step: chosen, by: parts.whyTab.querySelector(".gs-why-by").value, number: String(number) };
  const more = { ...(against ? { against: Number(against) } : {}), ...(last ? { last } : {}) };
  if (panel.ask("why", { ...question, ...more })) update(state, { why: { run: state.whole, step: chosen, number, refusal: "" } });
}

/**
 * The chosen step's own button: the tab comes into sight, and asks what was not asked yet.
 * @param {Parts} parts
 * @param {State} state
 * @param {Panel} panel
 */
function openWhy(parts, state, panel) {
  const { run, chosen } = state;
  openTab(parts, "why");
  parts.whyTab.querySelector(".gs-why-word").append(parts.questions.word); // what is said of the question
  drawWhy(parts, state, drawWhyQuestion, drawLensPicture);
  parts.root.querySelector("#gs-tab-why").focus({ preventScroll: true });
  bringIntoSight(parts);
  panel.schedule();
  if (run.why.has(`leave_one_out ${chosen}`) || parts.whyTab.querySelector('[data-ask="why"]').disabled) return;
  askWhy(parts, state, panel);
  if (state.isWaiting && state.why) update(state, { why: { ...state.why, opens: true } });
}

/** @param {Parts} parts */
function bringIntoSight(parts) {
  parts.root.querySelector("#gs-tab-why").scrollIntoView({ block: "start" });
}

/**
 * A line of the answer takes the place of what came of it before. A model without a lens says so. A line of another question than the one that was
 * asked last is dropped: it would be taken for this one's.
 * @param {Parts} parts
 * @param {State} state
 * @param {Panel} panel
 */
export function listenToWhy(parts, state, panel) {
  parts.whyTab.querySelector(".gs-why-ask").addEventListener("change", panel.schedule);
  matchMedia("(forced-colors: active)").addEventListener("change", panel.schedule); // they have no picture of a lens
  parts.root.addEventListener("why", (/** @type {CustomEvent<{ line?: string, number?: string, refusal?: string }>} */ { detail: { line, number, refusal } }) => {
    if (number !== String(state.why?.number) || !state.why) return;
    if (line) {
      const record = JSON.parse(line);
      addWhy(state.why.run, record);
      update(state, { why: { ...state.why, growing: record.leave_one_out ?? null } });
    }
    if (refusal !== undefined) update(state, { why: { ...state.why, refusal } });
    panel.scheduleTab();
    if (!state.why.opens) return;
    requestAnimationFrame(() => requestAnimationFrame(() => bringIntoSight(parts))); // once it is as tall as its answer
    if (line?.startsWith('{"leave_one_out"')) update(state, { why: { ...state.why, opens: false } });
  });
  return {
    openWhy: () => openWhy(parts, state, panel),
    why: () => askWhy(parts, state, panel),
    whyMore: () => askWhy(parts, state, panel, LIMITS.leftOut),
  };
}
