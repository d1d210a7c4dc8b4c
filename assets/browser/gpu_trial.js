// The trial of WebGPU: a second worker, which takes the place of the one that computes once it computes what WebAssembly computes. Owns that
// worker until then. Knows no run and no element of the page.

/** @import { FromWorker, GpuFault, LoadMessage, Reference, ToWorker } from "./messages.js" */

/** @typedef {"webgpu" | "wasm" | ""} DeviceAsked "" leaves the choice to the page */

/**
 * @typedef {object} TrialOptions
 * @property {Worker} worker a new one
 * @property {LoadMessage} load what it is loaded with
 * @property {boolean} isForced also on a software adapter, and where it is slower
 * @property {() => void} onLoaded it has loaded, and waits for `compare`
 * @property {(fault: GpuFault | null) => void} onEnd why WebGPU is not to compute; null where it is
 */

/** @typedef {ReturnType<typeof startGpuTrial>} GpuTrial */

const TRIAL_MILLISECONDS = 60_000; // a driver that has not answered by then never will

/**
 * `?device=` of the page's address: "webgpu" also on a software adapter and where it is slower, "wasm" alone, or "" for the better one.
 * @returns {DeviceAsked}
 */
export function deviceAsked() {
  const asked = new URLSearchParams(location.search).get("device");
  return asked === "webgpu" || asked === "wasm" ? asked : "";
}

/**
 * On a line that costs money, nothing is fetched that a run can do without.
 * @param {DeviceAsked} asked
 * @returns {boolean}
 */
export function canTryGpu(asked) {
  const { saveData = false, type = "" } = navigator.connection ?? {};
  return asked === "webgpu" || (asked === "" && Boolean(navigator.gpu) && !saveData && type !== "cellular");
}

/** @param {TrialOptions} options */
export function startGpuTrial({ worker, load, isForced, onLoaded, onEnd }) {
  let timer = 0;
  /** @param {ToWorker} message */
  const send = (message) => worker.postMessage(message);

  /** @param {GpuFault | null} fault */
  function finish(fault) {
    clearTimeout(timer);
    if (fault) worker.terminate();
    onEnd(fault);
  }

  /** @param {GpuFault["reason"]} reason */
  const fail = (reason) => finish({ reason, values: {} });

  /** @param {FromWorker} message */
  function receive(message) {
    switch (message.kind) {
      case "ready": return onLoaded();
      case "trusted": return finish(null);
      case "unfit": return finish({ reason: message.reason, values: message.values });
      case "failed": return fail("failed");
      case "lost": return fail("lost");
    }
  }

  /** @param {Reference} reference */
  function compare({ rows, milliseconds }) {
    if (!isForced) timer = setTimeout(() => fail("failed"), TRIAL_MILLISECONDS);
    send({ kind: "compare", rows, milliseconds });
  }

  send(load);
  return { worker, receive, compare, onCrash: () => fail("failed") };
}
