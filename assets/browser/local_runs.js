// Runs that this browser's engine writes, as values of the panel: what a panel asks is answered by the engine, line by line. Owns the run that
// is going on. Knows no element of the page.

import { startEngine } from "./engine_client.js";
import { TEXTS } from "../panel/core/constants.js";
import { howOf } from "../panel/core/how_picked.js";
import { requestIn } from "../panel/core/permalink.js";
import { texts } from "../panel/core/texts.js";

/** @import { BeamQuestion, EngineEvent, OwnTextQuestion, PromptQuestion, QuestionKind, Questions, TextQuestion, WhyQuestion } from "./messages.js" */
/** @import { ModelFacts } from "./model_facts.js" */
/** @import { Sampling } from "../panel/core/how_picked.js" */
/** @import { StopReason } from "../panel/core/run.js" */
/** @import { Message } from "../panel/core/server_messages.js" */

/** @typedef {{ prompt: string, steps: number | "", choices: number | "" }} FieldValues */

/**
 * What becomes of what comes.
 * @typedef {object} RunsPage
 * @property {(name: "value" | "words" | "begun_number", text: string) => void} setValue a new value of the panel
 * @property {(isBusy: boolean) => void} setBusy for Run and Stop
 * @property {(detail: { reason: StopReason, message: string }) => void} onEnd
 * @property {(values: FieldValues) => void} fillFields
 * @property {(event: EngineEvent) => void} onEvent all that the engine sends, before anything comes of it
 */

/** @typedef {{ model?: unknown, past_end?: boolean, sampling?: Sampling, as_message?: boolean }} Settings what a request says besides */

/**
 * What a panel may ask here, by the names that it has for it.
 * @typedef {object} PanelQuestions
 * @property {OwnTextQuestion & Settings} branch
 * @property {TextQuestion & Settings} score
 * @property {BeamQuestion & Settings} beam
 * @property {PromptQuestion & Settings} prompt
 * @property {WhyQuestion} why
 * @property {{ value: string }} link
 */

/** @typedef {{ [Kind in keyof PanelQuestions]: { kind: Kind, question: PanelQuestions[Kind] } }[keyof PanelQuestions]} PanelQuestion */

/** @typedef {ReturnType<typeof startLocalRuns>} LocalRuns */

const KINDS = ["branch", "score", "beam", "prompt", "why", "link"];
export const ASKED_FIELDS = /** @type {const} */ (["prompt", "steps", "choices"]);
// With i8x16.popcnt, which came with the rest of SIMD.
const SIMD = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11);
const CLEAR = Object.fromEntries(["notice", ...ASKED_FIELDS.map((name) => `problem-${name}`), "problem-model", "problem-forced"].map((place) => [place, ""]));

export const canCompute = () => typeof WebAssembly === "object" && WebAssembly.validate(SIMD);

/**
 * A message as decoding/messages.py writes it.
 * @param {string} key
 * @param {Record<string, string>} [parameters]
 * @returns {Message & { text: string }}
 */
function message(key, parameters = {}) {
  const text = TEXTS.en[key].replace(/\{(\w+)\}/g, (place, name) => parameters[name] ?? place);
  return { code: key.replace("server.", ""), parameters, text };
}

/**
 * A question of the panel, if it is one that the engine answers.
 * @param {string} kind
 * @param {object} question
 * @returns {PanelQuestion | null}
 */
export const panelQuestion = (kind, question) => (KINDS.includes(kind) ? /** @type {PanelQuestion} */ ({ kind, question }) : null);

/**
 * The model that a question of the panel is asked of.
 * @param {PanelQuestion} asked
 * @returns {Promise<unknown>}
 */
export async function modelAsked({ kind, question }) {
  if (kind === "link") return (await requestIn(question.value))?.model;
  return kind === "why" ? modelOfRun(question.run) : question.model;
}

/**
 * @param {string} lines a run's
 * @returns {string}
 */
const modelOfRun = (lines) => JSON.parse(lines.slice(0, lines.indexOf("\n"))).model.id;

/**
 * @param {ModelFacts} facts
 * @param {RunsPage} page
 * @param {string} [base] where the engine's files are, from the page; "" beside it
 */
export function startLocalRuns(facts, page, base = "") {
  const { id: ours } = facts.model;
  let growing = "";
  let whyNumber = ""; // of the question that was asked last
  let isComputing = false;

  /** @param {Record<string, string | Message>} messages by place; the other places are cleared */
  const setMessages = (messages) => page.setValue("words", JSON.stringify({ ...CLEAR, ...messages }));

  /**
   * @template {QuestionKind} Kind
   * @param {Kind} kind
   * @param {Questions[Kind] & Settings} question
   */
  function startRun(kind, question) {
    const { model } = question;
    if (!canCompute()) return refuse("forced", texts.translate("download.simd"));
    if (Object.keys(howOf(question)).length) return refuse("forced", texts.translate("download.argmax")); // never another run than was asked for
    if (model !== ours) return refuse("forced", message("server.model.not_offered", { model: String(model), models: ours }));
    setMessages({ notice: engine.isReady() ? "" : message("server.model.loading", { model: ours }) });
    growing = "";
    setBusy(true);
    engine.ask(kind, question);
  }

  /** @param {boolean} isBusy */
  function setBusy(isBusy) {
    isComputing = isBusy;
    page.setBusy(isBusy);
  }

  /**
   * @param {StopReason} reason
   * @param {string} [sentence]
   */
  function finish(reason, sentence = "") {
    setBusy(false);
    page.onEnd({ reason, message: sentence }); // changes nothing where the run has ended by itself
  }

  /**
   * Nothing is waited for any more.
   * @param {StopReason} reason
   */
  function stop(reason) {
    engine.stop();
    setMessages({});
    finish(reason);
  }

  /**
   * @param {string} place a field's name
   * @param {string | Message} why
   */
  function refuse(place, why) {
    const known = `problem-${place}` in CLEAR ? `problem-${place}` : "problem-forced";
    setMessages({ [known]: why });
    finish("error", typeof why === "string" ? why : why.text);
  }

  /** @param {string} text a line of the run */
  function addLine(text) {
    if (text.startsWith('{"prompt_scores"')) return setMessages({ scores: text.trim() });
    if (growing === "") setMessages({});
    growing += text;
    page.setValue("value", growing);
  }

  /** @param {boolean} isOnGpu */
  function onBroken(isOnGpu) {
    const why = message(isOnGpu ? "server.browser.broken_gpu" : "server.browser.broken");
    setMessages({ notice: why });
    if (isComputing) finish("error", why.text);
  }

  const engine = startEngine(facts, (event) => {
    page.onEvent(event);
    switch (event.kind) {
      case "line": return addLine(event.text);
      case "why":
        page.setValue("begun_number", ""); // no run comes of it by which the panel would know
        return setMessages({ why: event.text, number: whyNumber });
      case "done": return finish("error");
      case "refused": return refuse(event.field, event.message);
      case "broken": return onBroken(event.isOnGpu);
      case "failed":
        if (!isComputing) return;
        stop("error");
        setMessages({ notice: message("server.browser.absent") });
    }
  }, base);

  /** @param {string} value a link's */
  async function openLink(value) {
    const request = await requestIn(value);
    if (!request) return refuse("forced", message("server.link.broken"));
    page.fillFields(request);
    startRun("run", request);
  }

  /** @param {PanelQuestion} asked */
  function ask({ kind, question }) {
    switch (kind) {
      case "branch": return startRun("run", question);
      case "why":
        whyNumber = question.number;
        return startRun("why", { ...question, model: modelOfRun(question.run) });
      case "link": return openLink(question.value);
      case "score": return startRun("score", question);
      case "beam": return startRun("beam", question);
      case "prompt": return startRun("prompt", question);
    }
  }

  return { engine, ask, startRun, stop, isComputing: () => isComputing };
}
