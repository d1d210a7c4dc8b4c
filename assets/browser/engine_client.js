// The page's end of the engine (assets/browser/engine/worker.js). Owns the worker that computes: what it is asked, what comes of a run,
// another worker where one broke, and the change to WebGPU where there is one (gpu_trial.js). Knows no element of the page.

import { LIMITS, TEXTS } from "../panel/core/constants.js";
import { canTryGpu, deviceAsked, startGpuTrial } from "./gpu_trial.js";

/** @import { GpuTrial } from "./gpu_trial.js" */
/** @import { EngineEvent, FromWorker, GpuFault, QuestionKind, QuestionMessage, Questions, ToWorker } from "./messages.js" */
/** @import { ModelFacts } from "./model_facts.js" */

/** @typedef {"absent" | "loading" | "ready"} ModelState */

/** @typedef {"untried" | "tried" | "trusted" | "computing" | "left"} GpuState "trusted" lasts until no run is going on */

/** @typedef {ReturnType<typeof startEngine>} EngineClient */

/**
 * @param {ModelFacts} facts
 * @param {(event: EngineEvent) => void} onEvent
 * @param {string} base where the engine's files are, from the page; "" beside it
 */
export function startEngine(facts, onEvent, base) {
  const sentences = Object.fromEntries(Object.entries(TEXTS.en).filter(([key]) => key.startsWith("server.")));
  const asked = deviceAsked();
  const isForced = asked === "webgpu";
  let model = /** @type {ModelState} */ ("absent");
  let waiting = /** @type {QuestionMessage | null} */ (null); // a question that came before the model
  let last = 0;
  let running = 0; // the question that is being answered, or 0
  let gpu = /** @type {GpuState} */ (canTryGpu(asked) ? "untried" : "left");
  let trial = /** @type {GpuTrial | null} */ (null);
  let fault = /** @type {GpuFault | null} */ (null); // why WebGPU does not compute, for the header of a run
  let worker = openWorker();

  /** @returns {Worker} */
  function openWorker() {
    const opened = new Worker(`${base}engine/worker.js`, { type: "module" });
    opened.addEventListener("message", (/** @type {MessageEvent<FromWorker>} */ { data }) => {
      if (opened === worker) receive(data);
      else if (opened === trial?.worker) trial.receive(data);
    });
    // Memory that is short ends a worker without a message of its own.
    opened.addEventListener("error", (event) => {
      event.preventDefault();
      if (opened === worker) onCrash();
      else if (opened === trial?.worker) trial.onCrash();
    });
    return opened;
  }

  /** @param {ToWorker} message */
  const send = (message) => worker.postMessage(message);

  function onCrash() {
    if (model === "ready") replaceWorker(last);
    else receive({ kind: "failed", reason: "memory", file: "" });
  }

  /** @param {FromWorker} message */
  function receive(message) {
    switch (message.kind) {
      case "reference": return trial?.compare(message);
      case "ready": return onLoaded();
      case "lost": return replaceWorker(running || -1); // a GPU, in a run or between two
      case "broken": return replaceWorker(message.id);
      case "trusted":
      case "unfit": return; // of the trial's worker alone
      case "failed": model = "absent";
    }
    const isEnd = message.kind === "done" || message.kind === "refused";
    if (isEnd && message.id === running) running = 0;
    if (!("id" in message) || message.id === last) onEvent(message); // what a stopped run still sends is left out
    useGpu();
  }

  // The next run has a new worker, which finds the model in the browser's cache.
  /** @param {number} id the question that ends with the worker; -1 where none was being answered */
  function replaceWorker(id) {
    const isOnGpu = gpu === "computing";
    worker.terminate();
    trial?.worker.terminate();
    if (isOnGpu) fault = { reason: "lost", values: {} };
    [model, gpu, trial] = ["absent", "left", null];
    worker = openWorker();
    load();
    if (id === running) running = 0;
    if (id === last) onEvent({ kind: "broken", id, isOnGpu });
  }

  function load() {
    if (model !== "absent") return;
    model = "loading";
    send({ kind: "load", facts, limits: LIMITS, sentences, device: "wasm", fault });
  }

  function onLoaded() {
    if (!isForced || gpu === "left") setReady();
    if (gpu !== "untried") return;
    if (isForced) onEvent({ kind: "checking" });
    gpu = "tried";
    const askForReference = () => send({ kind: "reference", isForced });
    trial = startGpuTrial({ worker: openWorker(), load: { kind: "load", facts, limits: LIMITS, sentences, device: "webgpu", isForced }, isForced, onLoaded: askForReference, onEnd: onTrialEnd });
  }

  /** @param {GpuFault | null} found */
  function onTrialEnd(found) {
    gpu = found ? "left" : "trusted";
    if (found) trial = null;
    if (found && (isForced || found.reason !== "none")) {
      fault = found;
      send({ kind: "fault", fault });
    }
    useGpu();
    if (model !== "ready") setReady();
  }

  function useGpu() {
    if (gpu !== "trusted" || running || !trial) return;
    worker.terminate();
    [worker, gpu, trial] = [trial.worker, "computing", null];
  }

  function setReady() {
    model = "ready";
    onEvent({ kind: "ready" });
    if (waiting) sendQuestion(waiting);
  }

  /** @param {QuestionMessage} message */
  function sendQuestion(message) {
    waiting = model === "ready" ? null : message;
    if (model !== "ready") return load();
    running = message.id;
    send(message);
  }

  return {
    inspect: () => send({ kind: "inspect", facts }),
    load,
    pause: () => send({ kind: "pause" }),
    isReady: () => model === "ready",
    /**
     * @template {QuestionKind} Kind
     * @param {Kind} kind
     * @param {Questions[Kind]} question
     */
    ask: (kind, question) => sendQuestion(/** @type {QuestionMessage} */ ({ kind, id: ++last, question })),
    stop: () => {
      waiting = null;
      running = 0;
      send({ kind: "stop", id: last++ });
      useGpu();
    },
  };
}
