// The page's end of the engine (assets/browser/engine/worker.js). Owns the worker that computes: what it is told, what comes of a run,
// another worker where one broke, and the change to WebGPU where there is one (gpu_trial.js). Knows no element of the page.

import { LIMITS, TEXTS } from "../panel/core/constants.js";
import { canTryGpu, deviceAsked, startGpuTrial } from "./gpu_trial.js";

const ENDS = ["done", "refused", "broken"];

// `hear` is told { kind, … }: looked, progress, unpacking, checking, ready, failed, line, refused, done, broken. `base`: where the
// engine's files are.
export function startEngine(facts, hear, base = "") {
  const words = Object.fromEntries(Object.entries(TEXTS.en).filter(([key]) => key.startsWith("server.")));
  const asked = deviceAsked();
  const isForced = asked === "webgpu";
  let isLoading = false;
  let isReady = false;
  let waiting = null; // a request that came before the model
  let last = 0;
  let running = 0; // the request that is being answered, or 0
  let gpu = canTryGpu(asked) ? "untried" : "left"; // then "tried", "trusted" until no run is going on, "computing"
  let trial = /** @type {any} */ (null);
  let fault = /** @type {any} */ (null); // why WebGPU does not compute, for the header of a run
  let worker = open();

  function open() {
    const opened = new Worker(trusted(`${base}engine/worker.js`), { type: "module" });
    const said = (data) => {
      if (opened === worker) heard(data);
      else if (opened === trial?.worker) trial.hear(data);
    };
    opened.addEventListener("message", ({ data }) => said(data));
    // Memory that is short ends a worker without a word of its own.
    opened.addEventListener("error", (event) => {
      event.preventDefault();
      said({ kind: "crashed" });
    });
    return opened;
  }

  function heard(data) {
    if (data.kind === "answered") return trial?.compare(data);
    if (data.kind === "ready") return loaded();
    if (data.kind === "crashed") return heard({ kind: isReady ? "broken" : "failed", id: last, reason: "memory", file: "" });
    if (data.kind === "lost") return heard({ kind: "broken", id: running || -1 }); // a GPU, in a run or between two
    if (data.kind === "failed") [isLoading, isReady] = [false, false];
    const isOnGpu = gpu === "computing";
    if (data.kind === "broken") restart();
    if (ENDS.includes(data.kind) && data.id === running) running = 0;
    if (data.id === undefined || data.id === last) hear({ ...data, isOnGpu }); // what a stopped run still says is not heard
    takeGpu();
  }

  // The next run has a new worker, which finds the model in the browser's cache.
  function restart() {
    worker.terminate();
    trial?.worker.terminate();
    if (gpu === "computing") fault = { reason: "lost", values: {} };
    [isLoading, isReady, gpu, trial] = [false, false, "left", null];
    worker = open();
    load();
  }

  function load() {
    if (isLoading || isReady) return;
    isLoading = true;
    worker.postMessage({ ...message(), device: "wasm", fault });
  }

  const message = () => ({ kind: "load", facts, limits: LIMITS, words });

  function loaded() {
    if (!isForced || gpu === "left") begin();
    if (gpu !== "untried") return;
    if (isForced) hear({ kind: "checking" });
    gpu = "tried";
    const needAnswer = () => worker.postMessage({ kind: "answer", isForced });
    trial = startGpuTrial({ worker: open(), load: message(), isForced, needAnswer, end: tried });
  }

  function tried(found) {
    gpu = found ? "left" : "trusted";
    if (found) trial = null;
    if (found && (isForced || found.reason !== "none")) {
      fault = found;
      worker.postMessage({ kind: "fault", fault });
    }
    takeGpu();
    if (!isReady) begin();
  }

  function takeGpu() {
    if (gpu !== "trusted" || running) return;
    worker.terminate();
    [worker, gpu, trial] = [trial.worker, "computing", null];
  }

  function begin() {
    [isLoading, isReady] = [false, true];
    hear({ kind: "ready" });
    if (waiting) send(waiting);
  }

  function send(request) {
    waiting = isReady ? null : request;
    if (!isReady) return load();
    running = request.id;
    worker.postMessage(request);
  }

  return {
    look: () => worker.postMessage({ kind: "look", facts }),
    load,
    pause: () => worker.postMessage({ kind: "pause" }),
    isReady: () => isReady,
    ask: (kind, request) => send({ kind, id: ++last, request }),
    stop: () => {
      waiting = null;
      running = 0;
      worker.postMessage({ kind: "stop", id: last++ });
      takeGpu();
    },
  };
}

// The only addresses that this page makes scripts of.
const POLICY = self.trustedTypes?.createPolicy("greedyscope", { createScriptURL: (address) => address });

export function trusted(address) {
  return POLICY ? POLICY.createScriptURL(address) : address;
}
