// The line over the panel: which model, how exact, how far; and the chosen step's own line over the bars. Knows records and labels,
// and what is waited for, not how it is asked.

import { numbersOf, titleValues } from "../core/descriptions.js";
import { number, percent } from "../core/numbers.js";
import { totals } from "../core/run.js";
import { reword } from "../core/server_messages.js";
import { texts } from "../core/texts.js";
import { upright } from "../core/visible.js";
import { drawBars } from "./bars.js";
import { stepAtTemperature } from "./temperature.js";

// What wrote the text, where that was not greedy decoding here: decoding/analysis.py, or a server.
const ANOTHER = /^(?:beam search, \d+ beams|a given text|vLLM [\w.+-]+)/;

export function drawHead(parts, view, { run, from }, { state, isHere }) {
  const { model, note, remarks = [] } = run.header;
  const isRecord = Boolean(note || from);
  const exact = { "float32": texts.say("head.exact"), "as printed": "", "unknown dtype": "" }[model.dtype] ?? texts.say("head.not_exact");
  parts.badge.hidden = !isRecord;
  parts.note.hidden = !isRecord && !remarks.length;
  parts.badge.textContent = texts.say(from ? "head.replayed" : "head.recorded");
  parts.note.textContent = [from && texts.say("head.file", { name: from }), reword(note ?? ""), ...remarks.map((remark) => reword(remark))].filter(Boolean).join(" ");
  const another = run.header.note ? "" : ANOTHER.exec(model.engine)?.[0] ?? "";
  const facts = [model.id, numbersOf(model), reword(model.device), exact, reword(another)].filter(Boolean).join(" · ");
  parts.model.textContent = upright(facts);
  // Why on this device, in this dtype: said where this page's server decided it, and of no record from elsewhere.
  parts.why.textContent = isHere && !isRecord ? (model.why ?? "").split("; ").map((part) => reword(part)).join("; ") : "";
  parts.model.title = [model.revision, model.engine].filter(Boolean).join(" · ");
  // What the page knows of the model that is chosen, where the run is of it: size, context, licence.
  const isChosen = isHere && document.querySelector("#model input")?.value === model.id;
  parts.facts.textContent = isChosen ? document.querySelector("#facts p")?.textContent ?? "" : upright([model.revision, model.engine].filter(Boolean).join(" · "));
  parts.state.setAttribute("aria-live", run.end ? "polite" : "off"); // while a run is written, its tokens are heard
  parts.state.textContent = state ?? (view.silent ? silenceOf(view, run) : stateOf(run));
  drawMessage(parts, run);
  parts.root.classList.toggle("gs-running", !run.end || view.waiting || view.silent);
  parts.root.setAttribute("aria-busy", !run.end || view.waiting);
}

function stateOf(run) {
  const done = run.steps.length;
  if (!run.end && done === 0) return texts.say("state.reading", { count: run.header.prompt_tokens.length });
  if (!run.end) return texts.say("state.step", { step: done, steps: run.header.max_new_tokens });
  const { logprob, perplexity } = totals(run);
  const sums = done ? [texts.say("state.sums", { logprob: number(logprob, 3), perplexity: number(perplexity, 2) })] : [];
  return [texts.say("state.done", { count: done, why: texts.say(`ended.${run.end.stop_reason}`) }), ...sums].join(" · ");
}

// Nothing has come for a while.
function silenceOf(view, run) {
  if (view.request || run.end || run.steps.length === 0) return texts.say("state.waiting");
  return texts.say("state.silent", { step: run.steps.length, steps: run.header.max_new_tokens });
}

// Why a run broke off is a sentence, and has a line of its own.
function drawMessage(parts, run) {
  const message = reword(run.end?.message ?? "");
  parts.message.hidden = message === "";
  if (parts.message.textContent !== message) parts.message.textContent = message;
}

export function drawStep(parts, heat, run, chosen) {
  const step = run.steps[chosen];
  parts.root.classList.toggle("gs-empty", !step);
  if (!step) return texts.write(parts.stepTitle, "step.first");
  texts.write(parts.stepTitle, "step.title", titleValues(run, chosen));
  drawBars(parts, stepAtTemperature(heat, step), !run.end && chosen === run.steps.length - 1, run.header);
  parts.numbers.textContent = [
    texts.say("step.logprob", { value: number(step.picked.logprob, 4) }),
    texts.say(step.entropy === null ? "step.entropy.none" : "step.entropy", { value: number(step.entropy, 3) }),
    texts.say("step.margin", { value: percent(step.margin) }),
  ].join(" · ");
}
