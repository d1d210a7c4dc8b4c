// Refuses the animation frames that Gradio's loader requests; decoding/page/gradio_compat/page_start.py says why.

(() => {
  const { requestAnimationFrame } = window;
  window.requestAnimationFrame = (work) => (/\/statustracker-/.test(new Error().stack) ? 0 : requestAnimationFrame(work));
})();
