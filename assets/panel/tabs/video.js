// The video of a run in the Keep tab: how fast it plays, how far it is, and its cancelling. Knows no file's name.

import { texts } from "../core/texts.js";
import { recordRun, videoForm } from "../view/video.js";

/** @import { State } from "../core/state.js" */

/** @type {AbortController | null} the recording that is going on */
let recording = null;

/** @param {HTMLElement} page */
function findVideo(page) {
  /** @type {(name: string) => ReturnType<ParentNode["querySelector"]>} */
  const find = (name) => page.querySelector(`.gs-video-${name}`);
  return { rate: find("rate"), record: find("record"), cancel: find("cancel"), bar: find("bar"), status: find("status"), length: find("length") };
}

/**
 * @param {HTMLElement} page
 * @param {State} state
 * @param {(blob: Blob, ending: string) => string} saveVideo gives the file's name
 */
export function listenToVideo(page, state, saveVideo) {
  const { rate, record, cancel, bar, status } = findVideo(page);
  rate.addEventListener("change", () => drawVideo(page, state));
  cancel.addEventListener("click", () => recording?.abort());
  record.addEventListener("click", async () => {
    const form = videoForm();
    const { run } = state;
    if (!form || recording || run.steps.length === 0) return;
    recording = new AbortController();
    const count = run.steps.length;
    /** @type {(step: number) => void} */
    const onStep = (step) => {
      bar.value = step + 1;
      status.textContent = texts.translate("keep.video.recording", { step: step + 1, steps: count });
    };
    Object.assign(bar, { max: count, value: 0 });
    drawVideo(page, state);
    cancel.focus();
    const made = await recordRun(run, { rate: Number(rate.value), type: form.type, signal: recording.signal, onStep }).catch(() => undefined);
    recording = null;
    drawVideo(page, state);
    record.focus();
    status.textContent = made ? texts.translate("keep.saved", { name: saveVideo(made, form.ending) }) : texts.translate(made === null ? "keep.video.cancelled" : "keep.video.failed");
  });
}

/**
 * @param {HTMLElement} page
 * @param {State} state
 */
export function drawVideo(page, state) {
  const { rate, record, cancel, bar, status, length } = findVideo(page);
  const count = state.run.steps.length;
  const can = videoForm() !== null;
  record.hidden = recording !== null;
  cancel.hidden = bar.hidden = recording === null;
  rate.disabled = recording !== null;
  record.disabled = !can || !state.run.end || count === 0;
  length.textContent = count ? texts.translate("keep.video.length", { seconds: (count / Number(rate.value)).toLocaleString("en", { maximumFractionDigits: 1 }) }) : "";
  if (!can) status.textContent = texts.translate("keep.video.none");
}
