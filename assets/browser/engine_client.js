// The page's end of the engine (assets/browser/engine/worker.js). Owns the worker: what it is told, what comes of a run, and another
// worker where one broke. Knows no element of the page.

import { LIMITS, TEXTS } from "../panel/core/constants.js";

// `hear` is told { kind, … }: looked, progress, unpacking, ready, failed, line, refused, done, broken.
export function startEngine(facts, hear) {
  const words = Object.fromEntries(Object.entries(TEXTS.en).filter(([key]) => key.startsWith("server.")));
  let worker = /** @type {any} */ (null);
  let isLoading = false;
  let isReady = false;
  let waiting = null; // a request that came before the model
  let last = 0;

  function start() {
    worker = new Worker(trusted("engine/worker.js"), { type: "module" });
    worker.addEventListener("message", ({ data }) => heard(data));
    // Memory that is short ends a worker without a word of its own.
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      heard({ kind: isReady ? "broken" : "failed", id: last, reason: "memory", file: "" });
    });
  }

  function heard(data) {
    if (data.kind === "broken") restart();
    if (["ready", "failed"].includes(data.kind)) [isLoading, isReady] = [false, data.kind === "ready"];
    if (data.id === undefined || data.id === last) hear(data); // what a stopped run still says is not heard
    if (data.kind === "ready" && waiting) send(waiting);
  }

  // The next run has a new worker, which finds the model in the browser's cache.
  function restart() {
    worker.terminate();
    isReady = false;
    start();
    load();
  }

  function load() {
    if (isLoading || isReady) return;
    isLoading = true;
    worker.postMessage({ kind: "load", facts, limits: LIMITS, words });
  }

  function send(message) {
    waiting = isReady ? null : message;
    if (isReady) worker.postMessage(message);
    else load();
  }

  start();
  return {
    look: () => worker.postMessage({ kind: "look", facts }),
    load,
    pause: () => worker.postMessage({ kind: "pause" }),
    isReady: () => isReady,
    ask: (kind, request) => send({ kind, id: ++last, request }),
    stop: () => {
      waiting = null;
      worker.postMessage({ kind: "stop", id: last++ });
    },
  };
}

// The only addresses that this page makes scripts of.
const POLICY = self.trustedTypes?.createPolicy("greedyscope", { createScriptURL: (address) => address });

export function trusted(address) {
  return POLICY ? POLICY.createScriptURL(address) : address;
}
