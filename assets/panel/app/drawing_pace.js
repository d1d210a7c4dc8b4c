// When the picture is drawn: at once for what a reader does, and a run that grows as often as this browser can afford.

const REST = 9; // times as long as a drawing took: a run that grows takes a tenth of the browser's time
const MOST_MILLISECONDS = 1000; // and is seen to grow all the same

/**
 * @param {() => void} drawPicture
 * @param {() => void} drawTab
 */
export function startDrawing(drawPicture, drawTab) {
  const waiting = { picture: 0, tab: 0, growth: 0 };
  let restsUntil = 0;

  /** @type {(part: "picture" | "tab", draw: () => void) => void} */
  const drawInFrame = (part, draw) => {
    waiting[part] ||= requestAnimationFrame(() => {
      const began = performance.now();
      waiting[part] = 0;
      draw();
      setTimeout(() => { // after the frame's layout and paint
        const now = performance.now();
        restsUntil = Math.min(Math.max(now, restsUntil) + REST * (now - began), now + MOST_MILLISECONDS);
      });
    });
  };
  const schedule = () => drawInFrame("picture", drawPicture);
  const scheduleTab = () => drawInFrame("tab", drawTab); // a second short frame, and not a long one

  function scheduleGrowth() {
    waiting.growth ||= setTimeout(() => {
      waiting.growth = 0;
      if (performance.now() < restsUntil) scheduleGrowth(); // a drawing came between
      else schedule();
    }, restsUntil - performance.now());
  }

  return { schedule, scheduleTab, scheduleGrowth };
}
