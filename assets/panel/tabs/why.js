// The "Why?" tab: what the layers say at the chosen step (why_lens.js), and what the text says without a part of it (why_text.js). It asks;
// the answer comes as lines of the run's JSON Lines, and stays with the run that was asked about.

import { LIMITS } from "../core/constants.js";
import { percent } from "../core/numbers.js";
import { addWhy } from "../core/run_lines.js";
import { update } from "../core/state.js";
import { texts } from "../core/texts.js";
import { labelOf } from "../core/tokens.js";
import { isolate } from "../core/visible.js";
import { isFinished, linesUpTo, tokensBefore } from "../core/why.js";
import { make } from "../view/elements.js";
import { openTab } from "../view/tab_list.js";
import { drawLens } from "./why_lens.js";
import { drawAsked, drawWithout } from "./why_text.js";

/** @import { Run, Step } from "../core/run.js" */
/** @import { Panel, State } from "../core/state.js" */
/** @import { LeaveOneOut } from "../core/why.js" */
/** @import { Parts } from "../view/panel_elements.js" */

/**
 * @param {Parts} parts
 * @param {State} state
 */
export function drawWhy(parts, state) {
  const { run, chosen, why } = state;
  const page = parts.whyTab;
  const step = run.steps[chosen];
  if (!step) return;
  const values = { step: chosen + 1, token: labelOf(step.picked), probability: percent(step.picked.probability) };
  texts.write(page.querySelector(".gs-why-step"), "why.step", values);
  const found = run.why.get(`leave_one_out ${chosen}`)?.leave_one_out ?? null;
  const asks = page.querySelector(".gs-why-ask");
  if (asks) drawWhyQuestion(asks, run, step, found);
  const box = page.querySelector(".gs-without");
  drawWithout(box, run, chosen, found);
  const question = why && why.run === run && why.step === chosen ? why : null;
  const isOpen = Boolean(question) && state.request?.kind === "why";
  // Our own server says beside the question how far it has come; the engine of a browser says nothing.
  const growing = isOpen && !parts.questions.word.textContent ? question?.growing ?? null : null;
  const isAnotherChoice = Boolean(asks && found) && !state.isWaiting && isAnotherQuestion(asks, found);
  drawAsked(box, run, found, { isOpen, growing, isAnotherChoice });
  drawLens(page.querySelector(".gs-lens"), run.why.get(`lens ${chosen}`)?.lens ?? null, question?.refusal ?? "");
}

/**
 * @param {Element} asks
 * @param {Run} run
 * @param {Step} step
 * @param {LeaveOneOut | null} found
 */
function drawWhyQuestion(asks, run, step, found) {
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
  more.disabled = isUnanswerable || first < 2 || count - first >= LIMITS.leftOut; // it stays, so that nothing moves
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
 * Ask about the chosen step. `last`: how many tokens before it are left out; as many as is usual where it is not said.
 * @param {Parts} parts
 * @param {State} state
 * @param {Panel} panel
 * @param {number} [last]
 */
export function askWhy(parts, state, panel, last) {
  const { run, chosen } = state;
  const step = run.steps[chosen];
  if (!step) return;
  const against = parts.whyTab.querySelector(".gs-why-against").value;
  const question = { run: linesUpTo(run, step), step: chosen, by: parts.whyTab.querySelector(".gs-why-by").value };
  const more = { ...(against ? { against: Number(against) } : {}), ...(last ? { last } : {}) };
  if (panel.ask("why", { ...question, ...more })) update(state, { why: { run: state.whole, step: chosen, refusal: "" } });
}

/**
 * The chosen step's own button: the tab comes into sight, and asks what was not asked yet.
 * @param {Parts} parts
 * @param {State} state
 * @param {Panel} panel
 */
export function openWhy(parts, state, panel) {
  const { run, chosen } = state;
  openTab(parts, "why");
  parts.whyTab.querySelector(".gs-why-word").append(parts.questions.word); // what is said of the question
  drawWhy(parts, state);
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
 * A line of the answer takes the place of what came of it before. A model without a lens says so.
 * @param {Parts} parts
 * @param {State} state
 * @param {Panel} panel
 */
export function listenToWhy(parts, state, panel) {
  parts.whyTab.querySelector(".gs-why-ask")?.addEventListener("change", panel.schedule);
  parts.root.addEventListener("why", (/** @type {CustomEvent<{ line?: string, refusal?: string }>} */ { detail: { line, refusal } }) => {
    if (!state.why) return;
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
}
