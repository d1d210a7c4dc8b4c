// The line that says how the model comes: how large it is, how much is here, what went wrong, and the button for what can be done. Knows
// no engine.

import { texts } from "../panel/core/texts.js";

const megabytes = (bytes) => Math.round(bytes / 1e6);

export function startDownloadLine({ load, pause }) {
  const line = document.querySelector("#download");
  const [bar, words, button] = [line.querySelector("progress"), line.querySelector("p"), line.querySelector("button")];
  let said = /** @type {any} */ (null); // { key, values, action }
  let [here, total] = [0, 0];
  const actions = { "download.start": load, "download.resume": load, "download.pause": pause };

  function show(key, action = "", values = {}) {
    said = { key, values, action };
    draw();
  }

  function draw() {
    line.hidden = said === null;
    if (!said) return;
    const { key, values, action } = said;
    words.textContent = texts.translate(key, { done: megabytes(here), total: megabytes(total), ...values });
    bar.hidden = !["download.pause", "download.resume"].includes(action);
    Object.assign(bar, { max: Math.max(1, total), value: here });
    button.hidden = action === "";
    button.textContent = action ? texts.translate(action) : "";
  }

  button.addEventListener("click", () => actions[said.action]());
  texts.onChange(draw);

  const hears = {
    looked: (data) => {
      ({ here, total } = data);
      show("download.before", "download.start");
    },
    progress: (data) => {
      ({ here, total } = data);
      show("download.progress", "download.pause");
    },
    unpacking: () => show("download.unpacking"),
    checking: () => show("download.checking"),
    ready: () => {
      said = null;
      draw();
    },
    failed: ({ reason, file }) => show(`download.${reason}`, reason === "sum" ? "" : "download.resume", { file }),
  };
  function hear(data) {
    if (!hears[data.kind]) return;
    hears[data.kind](data);
    line.dataset.state = data.kind;
  }

  return { hear, refuse: (key) => show(key) };
}

// A download that costs money, or much of a small device's room, is asked for first.
export function beginsByItself({ here, total, isSmall }) {
  const { saveData = false, type = "" } = navigator.connection ?? {};
  return here === total || !(saveData || type === "cellular" || isSmall);
}
