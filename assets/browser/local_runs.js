// Runs that this browser's engine writes, as values of the panel: what a panel asks is answered by the engine, line by line. Owns the run that
// is going on. Knows no element of the page; `page` says what becomes of what comes:
// - set(name, value): a new value of the panel, "value" or "words"
// - busy(isBusy), ended({ reason, message }), fill(values): for Run and Stop, for the panel, for the fields
// - hear(event): all that the engine tells, before anything comes of it

import { startEngine } from "./engine_client.js";
import { TEXTS } from "../panel/core/constants.js";
import { howOf } from "../panel/core/how_picked.js";
import { fieldsOf } from "../panel/core/permalink.js";
import { texts } from "../panel/core/texts.js";

export const ASKED_FIELDS = ["prompt", "steps", "choices"];
// With i8x16.popcnt, which came with the rest of SIMD.
const SIMD = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11);
const CLEAR = Object.fromEntries(["notice", ...ASKED_FIELDS.map((name) => `problem-${name}`), "problem-model", "problem-forced"].map((place) => [place, ""]));

export const canCompute = () => typeof WebAssembly === "object" && WebAssembly.validate(SIMD);

// A message as decoding/messages.py writes it.
const english = (key, values) => TEXTS.en[key].replace(/\{(\w+)\}/g, (place, name) => values[name] ?? place);
const message = (key, parameters = {}) => ({ code: key.replace("server.", ""), parameters, text: english(key, parameters) });

// The model that a question of the panel is asked of.
export async function modelAsked(kind, question) {
  if (kind === "link") return (await fieldsOf(question.value).catch(() => []))[0];
  if (kind === "why") return JSON.parse(question.run.slice(0, question.run.indexOf("\n"))).model.id;
  return question.model;
}

// `base`: where the engine's files are, from the page; "" beside it.
export function startLocalRuns(facts, page, base = "") {
  const { id: ours } = facts.model;
  let growing = "";
  let isComputing = false;

  const words = (said) => page.set("words", JSON.stringify({ ...CLEAR, ...said }));

  function begin(kind, request) {
    const { model } = request;
    if (!canCompute()) return refuse("forced", texts.translate("download.simd"));
    if (Object.keys(howOf(request)).length) return refuse("forced", texts.translate("download.argmax")); // never another run than was asked for
    if (model !== ours) return refuse("forced", message("server.model.not_offered", { model: String(model), models: ours }));
    words({ notice: engine.isReady() ? "" : message("server.model.loading", { model: ours }) });
    growing = "";
    busy(true);
    engine.ask(kind, request);
  }

  function busy(isBusy) {
    isComputing = isBusy;
    page.busy(isBusy);
  }

  function finish(reason, said = "") {
    busy(false);
    page.ended({ reason, message: said }); // changes nothing where the run has ended by itself
  }

  // Nothing is waited for any more.
  function stop(reason) {
    engine.stop();
    words({});
    finish(reason);
  }

  function refuse(place, said) {
    const known = place in CLEAR ? place : `problem-${place}` in CLEAR ? `problem-${place}` : "problem-forced";
    words({ [known]: said });
    finish("error", said.text ?? said);
  }

  const hears = {
    line: ({ text }) => {
      if (text.startsWith('{"prompt_scores"')) return words({ scores: text.trim() });
      if (growing === "") words({});
      growing += text;
      page.set("value", growing);
    },
    why: ({ text }) => words({ why: text }),
    done: () => finish("error", ""),
    refused: ({ field: place, said }) => refuse(place, said),
    failed: () => { if (isComputing) stop("error"); },
    broken: ({ isOnGpu }) => {
      const key = isOnGpu ? "server.browser.broken_gpu" : "server.browser.broken";
      words({ notice: message(key) });
      if (isComputing) finish("error", english(key, {}));
    },
  };

  const engine = startEngine(facts, (event) => {
    page.hear(event);
    hears[event.kind]?.(event);
  }, base);

  // What a panel may ask here.
  const asks = {
    branch: (question) => begin("run", question),
    score: (question) => begin("score", question),
    beam: (question) => begin("beam", question),
    prompt: (question) => begin("prompt", question),
    why: async (question) => begin("why", { ...question, model: await modelAsked("why", question) }),
    link: async ({ value }) => {
      const fields = await fieldsOf(value).catch(() => []);
      if (fields.length < 6) return refuse("forced", message("server.link.broken"));
      const [model, prompt, steps, choices, forced, , , how] = fields;
      page.fill({ prompt, steps, choices });
      begin("run", { model, prompt, steps, choices, forced, ...how });
    },
  };

  return { engine, asks, begin, stop, isComputing: () => isComputing };
}
