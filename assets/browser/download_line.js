// The line that says how the model comes: how large it is, how much is here, what went wrong, and the button for what can be done. Knows
// no engine.

import { texts } from "../panel/core/texts.js";

/** @import { EngineEvent, FromWorker, Progress } from "./messages.js" */
/** @import { Values } from "../panel/core/texts.js" */

/** @typedef {"download.start" | "download.resume" | "download.pause"} Action by the text of its button */

/** @typedef {{ key: string, values: Values, action: Action | "" }} Line */

const RETRIES = 5;
const RETRY_MILLISECONDS = 1000;

/** @param {number} bytes */
const megabytes = (bytes) => Math.round(bytes / 1e6);

/** @param {{ load: () => void, pause: () => void }} engine */
export function startDownloadLine({ load, pause }) {
  const line = document.querySelector("#download");
  const [bar, words, button] = [line.querySelector("progress"), line.querySelector("p"), line.querySelector("button")];
  let shown = /** @type {Line | null} */ (null);
  /** @type {Progress} */
  let progress = { here: 0, total: 0 };
  let retries = 0; // that are left since the network came back
  const actions = { "download.start": load, "download.resume": load, "download.pause": pause };

  /**
   * @param {string} key
   * @param {Action | ""} [action]
   * @param {Values} [values]
   */
  function show(key, action = "", values = {}) {
    shown = { key, values, action };
    draw();
  }

  function draw() {
    line.hidden = shown === null;
    if (!shown) return;
    const { key, values, action } = shown;
    const { here, total } = progress;
    words.textContent = texts.translate(key, { done: megabytes(here), total: megabytes(total), ...values });
    bar.hidden = !["download.pause", "download.resume"].includes(action);
    Object.assign(bar, { max: Math.max(1, total), value: here });
    button.hidden = action === "";
    button.textContent = action ? texts.translate(action) : "";
  }

  button.addEventListener("click", () => {
    if (shown?.action) actions[shown.action]();
  });
  texts.onChange(draw);
  // A network may be back before its loss was noticed, and may need some seconds before anything comes.
  addEventListener("online", () => {
    retries = RETRIES;
    retry();
  });

  function retry() {
    if (shown?.key !== "download.lost" || retries === 0) return;
    retries--;
    load();
  }

  /**
   * @param {EngineEvent} event
   * @returns {boolean} whether the line is about it
   */
  function showEvent(event) {
    switch (event.kind) {
      case "inspected":
      case "progress":
        progress = event;
        show(event.kind === "progress" ? "download.progress" : "download.before", event.kind === "progress" ? "download.pause" : "download.start");
        return true;
      case "unpacking":
      case "checking":
        show(`download.${event.kind}`);
        return true;
      case "ready":
        shown = null;
        draw();
        return true;
      case "failed":
        show(`download.${event.reason}`, event.reason === "sum" ? "" : "download.resume", { file: event.file });
        setTimeout(retry, RETRY_MILLISECONDS);
        return true;
      default:
        return false;
    }
  }

  /** @param {EngineEvent} event */
  function update(event) {
    if (showEvent(event)) line.dataset.state = event.kind;
  }

  return { update, showProblem: (/** @type {string} */ key) => show(key) };
}

/**
 * A download that costs money, or much of a small device's room, is asked for first.
 * @param {Extract<FromWorker, { kind: "inspected" }>} event
 * @returns {boolean}
 */
export function startsByItself({ here, total, isSmall }) {
  const { saveData = false, type = "" } = navigator.connection ?? {};
  return here === total || !(saveData || type === "cellular" || isSmall);
}
