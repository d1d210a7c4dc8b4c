// Notices that nothing arrives after a question. Behind a proxy that buffers everything, the old run would look like the answer.

import { update } from "../core/state.js";

/** @import { History } from "../core/history.js" */
/** @import { State } from "../core/state.js" */

const BEGINNING_MILLISECONDS = 1000;
const STEP_MILLISECONDS = 5000; // a large model may take seconds for a step

/**
 * @param {State} state
 * @param {History} history
 * @param {() => void} draw
 */
export function startSilenceTimer(state, history, draw) {
  let timer = 0;

  function stop() {
    clearTimeout(timer);
    if (state.isSilent) draw(); // what it said is over
    update(state, { isSilent: false });
  }

  /** @param {number} milliseconds */
  function wait(milliseconds) {
    stop();
    timer = setTimeout(() => {
      update(state, { isSilent: true });
      draw();
    }, milliseconds);
  }

  return {
    start: () => wait(BEGINNING_MILLISECONDS),
    restart: () => {
      stop();
      if (history.streaming && !history.streaming.run.end) wait(STEP_MILLISECONDS);
    },
  };
}
