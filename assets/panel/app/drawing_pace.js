// When the picture is drawn: at once for what a reader does, and a run that grows as often as this browser can afford.

const REST = 9; // times as long as a drawing took: a run that grows takes a tenth of the browser's time
const MOST_MILLISECONDS = 1000; // and is seen to grow all the same

/**
 * @param {() => void} drawPicture
 * @param {() => void} drawTab
 */
export function startDrawing(drawPicture, drawTab) {
  const frames = { picture: 0, tab: 0 }; // that will draw
  let growth = 0; // the timer of steps that wait
  let restsUntil = 0;

  /**
   * @param {keyof typeof frames} part
   * @param {() => void} draw
   */
  function drawInFrame(part, draw) {
    if (frames[part]) return; // however fast steps come, one drawing a frame
    frames[part] = requestAnimationFrame(() => {
      const began = performance.now();
      frames[part] = 0;
      draw();
      setTimeout(() => rest(performance.now() - began)); // after the frame's layout and paint
    });
  }

  /** @param {number} took */
  function rest(took) {
    const now = performance.now();
    restsUntil = Math.min(Math.max(now, restsUntil) + REST * took, now + MOST_MILLISECONDS);
  }

  const schedule = () => drawInFrame("picture", drawPicture);
  // A second short frame, and not a long one.
  const scheduleTab = () => drawInFrame("tab", drawTab);

  function scheduleGrowth() {
    if (growth || frames.picture) return;
    growth = setTimeout(() => {
      growth = 0;
      if (performance.now() < restsUntil) scheduleGrowth(); // a drawing came between
      else schedule();
    }, restsUntil - performance.now());
  }

  return { schedule, scheduleTab, scheduleGrowth };
}
