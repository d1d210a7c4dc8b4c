// When nothing comes of what was asked for: behind a proxy that holds everything back, the run before it would look like its answer.

const BEGINNING_MILLISECONDS = 1000;
const STEP_MILLISECONDS = 5000; // a large model may take seconds for a step

export function listenForSilence(view, keep, draw) {
  let timer = 0;

  function wait(milliseconds) {
    clearTimeout(timer);
    view.silent = false;
    timer = setTimeout(() => {
      view.silent = true;
      draw();
    }, milliseconds);
  }

  return {
    begins: () => wait(BEGINNING_MILLISECONDS),
    broken: () => {
      clearTimeout(timer);
      view.silent = false;
      if (keep.streaming && !keep.streaming.run.end) wait(STEP_MILLISECONDS);
    },
  };
}
