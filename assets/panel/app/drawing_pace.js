// When the picture is drawn: at once for what a reader does, and a run that grows as often as this browser can afford.

const REST = 19; // times as long as a drawing took: a run that grows takes a twentieth of the browser's time
const MOST_MILLISECONDS = 400; // and is seen to grow all the same

/**
 * @param {() => void} drawPicture
 * @param {() => void} drawTab
 */
export function startDrawing(drawPicture, drawTab) {
  const waiting = { picture: 0, tab: 0, growth: 0 };
  let restsUntil = 0; // of growth alone: what a reader did just before does not put off the first steps

  /** @type {(part: "picture" | "tab", draw: () => void, grows?: boolean) => void} */
  const drawInFrame = (part, draw, grows = false) => {
    waiting[part] ||= requestAnimationFrame(() => {
      const began = performance.now();
      waiting[part] = 0;
      draw();
      if (!grows) return;
      clearTimeout(waiting.growth); // of steps that are drawn now
      waiting.growth = 0;
      setTimeout(() => { // after the frame's layout and paint
        const now = performance.now();
        restsUntil = now + Math.min(REST * (now - began), MOST_MILLISECONDS);
      });
    });
  };
  const schedule = () => drawInFrame("picture", drawPicture);
  const scheduleTab = () => drawInFrame("tab", drawTab); // a second short frame, and not a long one

  function scheduleGrowth() {
    waiting.growth ||= setTimeout(() => {
      waiting.growth = 0;
      if (performance.now() < restsUntil) scheduleGrowth(); // a drawing came between
      else drawInFrame("picture", drawPicture, true);
    }, restsUntil - performance.now());
  }

  return { schedule, scheduleTab, scheduleGrowth };
}
