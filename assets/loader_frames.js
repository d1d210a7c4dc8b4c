// Gradio's loader asks for frames from its own file. See decoding/page/gradio_compat/loader_frames.py.

(() => {
  const { requestAnimationFrame } = window;
  window.requestAnimationFrame = (work) => (/\/statustracker-/.test(new Error().stack) ? 0 : requestAnimationFrame(work));
})();
