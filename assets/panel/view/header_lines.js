// The line over the panel (model, exactness, progress) and the chosen step's line over the bars. Knows records and labels, and whether a
// question is open, not how it is asked.

import { dtypeOf, exactness, titleValues } from "../core/descriptions.js";
import { number, percent } from "../core/numbers.js";
import { totals } from "../core/run.js";
import { recordSentence } from "../core/record_sentences.js";
import { texts, withCode } from "../core/texts.js";
import { showDirectionMarks } from "../core/visible.js";
import { drawBars, hideBars } from "./bars.js";
import { make, setText } from "./elements.js";
import { stepAtTemperature } from "./temperature.js";
import { drawPickNote } from "./pick_note.js";

/** @import { Entry } from "../core/history.js" */
/** @import { Run } from "../core/run.js" */
/** @import { State } from "../core/state.js" */
/** @import { Parts } from "./panel_elements.js" */
/** @import { Temperature } from "./temperature.js" */

// What wrote the text, where that was not greedy decoding here: decoding/questions/, or a server.
const ANOTHER = /^(?:beam search, \d+ beams|a given text|vLLM [\w.+-]+)/;

/**
 * @param {Parts} parts
 * @param {State} state
 * @param {Entry} entry
 * @param {{ status: string | null, isHere: boolean }} page what "Predict, then reveal" says, and whether there is a server behind the panel
 */
export function drawHead(parts, state, { run, from }, { status, isHere }) {
  const { model, note, remarks = [] } = run.header;
  const isRecord = Boolean(note || from);
  parts.badge.hidden = !isRecord;
  parts.note.hidden = !isRecord && !remarks.length;
  setText(parts.badge, texts.translate(from ? "head.replayed" : "head.recorded"));
  const lead = isHere && note && !from ? texts.translate("page.lead") : ""; // the first screen says what the page is for
  setText(parts.note, [lead, from && texts.translate("head.file", { name: from }), recordSentence(note ?? ""), ...remarks.map((remark) => recordSentence(remark))].filter(Boolean).join(" "));
  const another = run.header.note ? "" : ANOTHER.exec(model.engine)?.[0] ?? "";
  const facts = [model.id, dtypeOf(model), recordSentence(model.device), exactness(model), recordSentence(another)].filter(Boolean).join(" · ");
  setText(parts.model, showDirectionMarks(facts));
  // Why on this device, in this dtype: said where this page's server decided it, and of no record from elsewhere.
  setText(parts.why, isHere && !isRecord ? (model.why ?? "").split("; ").map((part) => recordSentence(part)).join("; ") : "");
  parts.model.title = [model.revision, model.engine].filter(Boolean).join(" · ");
  // What the page knows of the model that is chosen, where the run is of it: size, context, licence.
  const isChosen = isHere && document.querySelector("#model input")?.value === model.id;
  setText(parts.facts, isChosen ? document.querySelector("#facts p")?.textContent ?? "" : showDirectionMarks([model.revision, model.engine].filter(Boolean).join(" · ")));
  parts.state.setAttribute("aria-live", run.end ? "polite" : "off"); // while a run is written, its tokens are announced instead
  setText(parts.state, status ?? (state.isSilent ? silenceSentence(state, run) : [...elsewhere(state), stateSentence(run)].join(" · ")));
  drawMessage(parts, run);
  parts.root.classList.toggle("gs-running", !run.end || state.isWaiting || state.isSilent);
  parts.root.setAttribute("aria-busy", !run.end || state.isWaiting);
}

/** @param {Run} run */
function stateSentence(run) {
  const done = run.steps.length;
  if (!run.end && done === 0) return texts.translate("state.reading", { count: run.header.prompt_tokens.length });
  if (!run.end) return texts.translate("state.step", { step: done, steps: run.header.max_new_tokens });
  const { logprob, perplexity } = totals(run);
  const sums = done ? [texts.translate("state.sums", { logprob: number(logprob, 3), perplexity: number(perplexity, 2) })] : [];
  return [texts.translate("state.done", { count: done, why: texts.translate(`ended.${run.end.stop_reason}`) }), ...sums].join(" · ");
}

/**
 * Why nothing can be asked while another run is looked at.
 * @param {State} state
 * @returns {string[]}
 */
function elsewhere({ whole, history: { streaming } }) {
  return !streaming || streaming.run.end || streaming.run === whole ? [] : [texts.translate("state.elsewhere", { number: streaming.number ?? 1 })];
}

/**
 * Nothing has come for a while.
 * @param {State} state
 * @param {Run} run
 */
function silenceSentence(state, run) {
  if (state.request || run.end || run.steps.length === 0) return texts.translate("state.waiting");
  return texts.translate("state.silent", { step: run.steps.length, steps: run.header.max_new_tokens });
}

/**
 * Why a run broke off is a sentence, and has a line of its own.
 * @param {Parts} parts
 * @param {Run} run
 */
function drawMessage(parts, run) {
  const message = recordSentence(run.end?.message ?? "");
  parts.message.hidden = message === "";
  if (parts.message.textContent !== message) parts.message.replaceChildren(...withCode(message));
}

/**
 * @param {Parts} parts
 * @param {Temperature} temperature
 * @param {Run} run
 * @param {number} chosen
 * @param {boolean} isFollowed it is the last one of a run that grows, and gives way to the next
 */
export function drawStep(parts, temperature, run, chosen, isFollowed) {
  const step = run.steps[chosen];
  drawPickNote(parts.root, run, step);
  hideBars(parts, !step);
  if (!step) return texts.write(parts.stepTitle, "step.first");
  texts.write(parts.stepTitle, "step.title", titleValues(run, chosen));
  drawBars(parts, stepAtTemperature(temperature, step), isFollowed);
  const numbers = [
    texts.translate("step.logprob", { value: number(step.picked.logprob, 4) }),
    texts.translate(step.entropy === null ? "step.entropy.none" : "step.entropy", { value: number(step.entropy, 3) }),
    texts.translate("step.margin", { value: percent(step.margin) }),
  ];
  // A number stays on the line of its name: panel.css.
  parts.numbers.replaceChildren(...numbers.flatMap((one, n) => [n ? " · " : "", make("span", "", one)]));
}
