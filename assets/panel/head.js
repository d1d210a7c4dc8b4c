// The line over the panel: which model, how exact, how far; and the chosen step's own line over the bars. Knows records and labels,
// and what is waited for, not how it is asked.

// What wrote the text, where that was not greedy decoding: decoding/analysis.py.
const ANOTHER = /^(?:beam search, \d+ beams|a given text)/;

function drawHead(parts, view, { run, from }, { state, isHere }) {
  const { model, note } = run.header;
  const isRecord = Boolean(note || from);
  const exact = { "float32": texts.say("head.exact"), "as printed": "", "unknown dtype": "" }[model.dtype] ?? texts.say("head.not_exact");
  parts.badge.hidden = parts.note.hidden = !isRecord;
  parts.badge.textContent = texts.say(from ? "head.replayed" : "head.recorded");
  parts.note.textContent = [from && texts.say("head.file", { name: from }), reword(note ?? "")].filter(Boolean).join(" ");
  const another = run.header.note ? "" : ANOTHER.exec(model.engine)?.[0] ?? "";
  const facts = [model.id, reword(model.dtype), model.device, exact, reword(another)].filter(Boolean).join(" · ");
  parts.model.textContent = upright(facts);
  // Why on this device, in this dtype: said where this page's server decided it, and of no record from elsewhere.
  parts.why.textContent = isHere && !isRecord ? reword(model.why ?? "") : "";
  parts.model.title = [model.revision, model.engine].filter(Boolean).join(" · ");
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

// Fields and picture apart: a run was asked for that has not begun, or the fields were changed since.
function drawOld(parts, view, run) {
  const key = view.request && view.silent && view.request.kind !== "agree" ? "old.waiting" : isApart(view, run) ? "old.fields" : null;
  parts.root.classList.toggle("gs-is-old", key !== null);
  parts.old.hidden = key === null;
  if (!key) return parts.old.replaceChildren();
  const { prompt, max_new_tokens: steps, top_k: choices, model } = run.header;
  texts.write(parts.old, key, { prompt: shortened(prompt), steps, choices, model: model.id });
}

// A prompt in a sentence: its first letters on one line.
function shortened(prompt, most = 40) {
  const letters = lettersOf(oneLine(prompt).slice(0, 4 * most).toWellFormed());
  if (letters.length === 0) return texts.say("prompt.empty");
  return letters.length > most ? `${letters.slice(0, most).join("")}…` : letters.join("");
}

// Whether the fields name another run than the one on screen. Of a record from elsewhere the prompt counts alone: its model may not be
// one to choose here.
function isApart(view, run) {
  const { fields } = view;
  if (!fields || !run.header) return false;
  const { prompt, max_new_tokens: steps, top_k: choices, model } = run.header;
  if (fields.prompt !== prompt) return true;
  if (run.header.note || !view.models.includes(model.id) || steps > MAX_LINKED_STEPS) return false;
  return fields.steps !== steps || fields.choices !== choices || fields.model !== model.id;
}

function drawStep(parts, heat, run, chosen) {
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

function titleValues(run, chosen) {
  return { step: chosen + 1, steps: run.steps.length, token: labelOf(run.steps[chosen].picked) };
}

function stepTitle(run, chosen) {
  return texts.say("step.title", titleValues(run, chosen));
}
