// A run as a video for a slide: the picture of each step, one after the other. The browser's own recorder writes the file, so there is no
// library to fetch and nothing that a page without a network would lack; it writes at the pace at which the video plays. One picture is
// drawn at a time. A browser slows down the timers of a hidden page, so the recording pauses while the page is hidden.

import { imageOf, stepImage } from "./step_image.js";

/** @import { Run } from "../core/run.js" */

export const VIDEO = { width: 1280, height: 720 };
const LAST_MILLISECONDS = 100; // until the recorder has the last frame
const BITS_PER_SECOND = 2_500_000;
// What slides take first.
const FORMS = [
  { ending: "mp4", type: "video/mp4;codecs=avc1.42E01F" },
  { ending: "webm", type: "video/webm;codecs=vp9" },
  { ending: "webm", type: "video/webm;codecs=vp8" },
  { ending: "mp4", type: "video/mp4" },
];

/**
 * The form in which this browser records; null where it cannot.
 * @returns {{ ending: string, type: string } | null}
 */
export function videoForm() {
  if (!window.MediaRecorder || !HTMLCanvasElement.prototype.captureStream) return null;
  return FORMS.find(({ type }) => MediaRecorder.isTypeSupported(type)) ?? null;
}

/**
 * The video; null where it was cancelled.
 * @param {Run} run
 * @param {{ rate: number, type: string, signal: AbortSignal, onStep: (step: number) => void }} options `rate` in steps a second
 * @returns {Promise<Blob | null>}
 */
export async function recordRun(run, { rate, type, signal, onStep }) {
  const canvas = Object.assign(document.createElement("canvas"), VIDEO);
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const stream = /** @type {any} */ (canvas.captureStream(0)); // a frame is taken when one is asked for
  const [track] = stream.getVideoTracks();
  const taker = track.requestFrame ? track : stream; // in Firefox the stream has the method
  const recorder = new MediaRecorder(new MediaStream([track]), { mimeType: type, videoBitsPerSecond: BITS_PER_SECOND });
  const parts = /** @type {Blob[]} */ ([]);
  recorder.addEventListener("dataavailable", ({ data }) => parts.push(data));
  const ended = new Promise((done, failed) => {
    recorder.addEventListener("stop", done);
    recorder.addEventListener("error", failed);
  });
  const steps = run.steps.map((_, step) => stepImage.bind(null, run, step));
  let next = imageOf(steps[0]());
  /** @type {(picture: HTMLImageElement) => void} */
  const drawFrame = (picture) => {
    pen.drawImage(picture, 0, 0, VIDEO.width, VIDEO.height);
    taker.requestFrame();
  };
  recorder.start();
  for (const step of steps.keys()) {
    const picture = await next;
    if (signal.aborted) break;
    drawFrame(picture);
    onStep(step);
    if (step + 1 < steps.length) next = imageOf(steps[step + 1]());
    await waitWhileVisible(1000 / rate, recorder, signal);
    if (step + 1 < steps.length) continue;
    drawFrame(picture); // else the last one would last no time
    await waitWhileVisible(LAST_MILLISECONDS, recorder, signal);
  }
  recorder.stop();
  track.stop();
  await ended;
  const video = new Blob(parts, { type });
  if (!signal.aborted && video.size === 0) throw new Error(type); // WebKitGTK's recorder may write nothing
  return signal.aborted ? null : video;
}

/**
 * Resolves after `milliseconds` during which the page was visible, or when it is cancelled.
 * @param {number} milliseconds
 * @param {MediaRecorder} recorder
 * @param {AbortSignal} signal
 */
async function waitWhileVisible(milliseconds, recorder, signal) {
  let left = milliseconds;
  while (left > 0 && !signal.aborted) {
    if (document.hidden) {
      recorder.pause();
      await firstEvent(["visibilitychange"], signal);
      if (!document.hidden && !signal.aborted) recorder.resume();
      continue;
    }
    const begun = performance.now();
    await firstEvent(["visibilitychange"], signal, left);
    left -= performance.now() - begun;
  }
}

/**
 * The first of some events of the document, the cancelling, or the end of a time.
 * @param {string[]} events
 * @param {AbortSignal} signal
 * @param {number} [milliseconds]
 * @returns {Promise<null>}
 */
function firstEvent(events, signal, milliseconds = Infinity) {
  return new Promise((done) => {
    const controller = new AbortController();
    const timer = Number.isFinite(milliseconds) ? setTimeout(finish, milliseconds) : 0;
    function finish() {
      clearTimeout(timer);
      controller.abort();
      done(null);
    }
    for (const event of events) document.addEventListener(event, finish, { signal: controller.signal });
    signal.addEventListener("abort", finish, { signal: controller.signal });
  });
}
