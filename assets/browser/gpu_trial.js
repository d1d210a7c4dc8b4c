// The trial of WebGPU: a second worker, which takes the place of the one that computes once it has said what WebAssembly says. Owns that
// worker until then. Knows no run and no element of the page.

const TRIAL_MILLISECONDS = 60_000; // a driver that has not answered by then never will
const DEVICES = ["webgpu", "wasm"];

// `?device=` of the page's address: "webgpu" also on a software adapter and where it is slower, "wasm" alone, or "" for the better one.
export function deviceAsked() {
  const asked = new URLSearchParams(location.search).get("device") ?? "";
  return DEVICES.includes(asked) ? asked : "";
}

// On a line that costs money, nothing is fetched that a run can do without.
export function canTryGpu(asked) {
  const { saveData = false, type = "" } = navigator.connection ?? {};
  return asked === "webgpu" || (asked === "" && Boolean(navigator.gpu) && !saveData && type !== "cellular");
}

// `worker` is new, and `load` the message that it loads by. `needAnswer` is called when it waits for what WebAssembly says, which
// `compare` takes; then `end` hears why WebGPU is not to compute, as { reason, values }, or null where it is.
export function startGpuTrial({ worker, load, isForced, needAnswer, end }) {
  let timer = 0;
  const leave = (reason, values = {}) => {
    worker.terminate();
    finish({ reason, values });
  };
  const hears = {
    ready: needAnswer,
    trusted: () => finish(null),
    unfit: ({ reason, values }) => leave(reason, values),
    failed: () => leave("failed"),
    crashed: () => leave("failed"),
    lost: () => leave("lost"),
  };

  function finish(fault) {
    clearTimeout(timer);
    end(fault);
  }

  function compare({ rows, milliseconds }) {
    if (!isForced) timer = setTimeout(() => leave("failed"), TRIAL_MILLISECONDS);
    worker.postMessage({ kind: "compare", rows, milliseconds });
  }

  worker.postMessage({ ...load, device: "webgpu", isForced });
  return { worker, hear: (data) => hears[data.kind]?.(data), compare };
}
