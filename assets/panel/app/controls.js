// Clicks, drags and changed fields become moves of the panel. Listeners are delegated, so that nothing has to be attached again when a
// drawing is replaced.

import { redo, removeEntry, undo } from "../core/history.js";
import { closestCalls, requestUpTo } from "../core/run.js";
import { jsonLines } from "../core/run_lines.js";
import { listenToTabs } from "../view/tab_list.js";
import { stepAt } from "../view/timeline.js";
import { listenToKeys } from "./keyboard.js";

/** @import { PageFeatures } from "./page_features.js" */
/** @import { History } from "../core/history.js" */
/** @import { StopReason } from "../core/run.js" */
/** @import { Panel, State } from "../core/state.js" */
/** @import { Parts } from "../view/panel_elements.js" */

/**
 * @param {Parts} parts
 * @param {State} state
 * @param {History} history
 * @param {Panel} panel
 * @param {PageFeatures | null} onPage
 */
export function listenToControls(parts, state, history, panel, onPage) {
  parts.root.addEventListener("click", (/** @type {PageEvent<MouseEvent>} */ event) => {
    if (onPage?.askForConfirmation(parts, state, event)) return;
    const at = event.target.closest("[data-step], [data-go], [data-candidate], [data-fork], [data-ask], [data-show], [data-remove], [data-token]");
    const { step, go, candidate, at: place, fork, ask, show, remove, of, token } = at?.dataset ?? {};
    // What is said of a question stands below it: on a phone, the top of the page is far away.
    const asks = ask || fork !== undefined ? at.closest(".gs-questions > section, .gs-why-ask") : null;
    (asks?.querySelector(".gs-why-word") ?? asks)?.append(parts.questions.word);
    if (candidate !== undefined) panel.branch(Number(place ?? state.chosen), Number(candidate));
    else if (fork !== undefined) panel.branch(Number(place), Number(fork), "compare");
    else if (step !== undefined) panel.choose(Number(step));
    else if (go) panel.moves[go]();
    else if (ask) askActions[ask]();
    else if (token !== undefined) panel.showStep(history.entries[of], Number(token));
    else if (show !== undefined) panel.show(history.entries[show]);
    else if (remove !== undefined) changeHistory(() => removeEntry(history, history.entries[remove]));
    if (step !== undefined || candidate !== undefined || (go && go !== "play")) panel.play(false);
  });
  /** @type {(move: () => void) => void} */
  const changeHistory = (move) => {
    move();
    panel.show(history.shown);
  };
  // The fork's own Undo: the run that it left, at the step where the reader is.
  const undoFork = () => {
    const { chosen } = state;
    changeHistory(() => undo(history));
    panel.choose(chosen);
    parts.strip.focus({ preventScroll: true }); // the button is gone
  };
  const { own, beams, score, beside } = parts.questions;
  const wholeRequest = () => requestUpTo(state.run, 0);
  /** @type {Record<string, () => void>} */
  const askActions = {
    unfork: undoFork,
    undo: () => changeHistory(() => undo(history)),
    redo: () => changeHistory(() => redo(history)),
    closest: () => {
      const [call] = closestCalls(state.run);
      if (call) panel.branch(call.index, call.candidates[1].token_id, "compare");
    },
    own: () => panel.ask("branch", { ...requestUpTo(state.run, state.chosen), at: state.chosen, text: own.value }, { step: state.chosen, placeToShow: "picture" }),
    beam: () => panel.ask("beam", { ...wholeRequest(), steps: state.run.steps.length, beams: beams.valueAsNumber }, { placeToShow: "tree" }),
    score: () => panel.ask("score", { ...wholeRequest(), text: score.value }, { placeToShow: "compare" }),
    beside: () => {
      const { run } = state;
      panel.ask("branch", { ...wholeRequest(), model: beside.value }, { kind: "beside", placeToShow: "compare", stepToShow: (other) => Number(onPage?.differingStep(run, other)) });
    },
    prompt: () => panel.ask("prompt", { model: state.run.header.model.id, run: jsonLines(state.whole) }),
    agree: () => panel.ask("agree", { model: state.run.header.model.id, run: jsonLines(state.run) }),
    ...onPage?.listenToSampling(parts, state, panel),
    ...onPage?.listenToWhy(parts, state, panel),
  };
  parts.copy.addEventListener("click", () => onPage?.copyAddress(parts, state));
  for (const select of [parts.compare.left, parts.compare.right]) select.addEventListener("change", panel.schedule);
  parts.axis.zoom.addEventListener("click", () => {
    const { zoom } = parts.axis;
    zoom.setAttribute("aria-pressed", zoom.getAttribute("aria-pressed") !== "true");
    panel.schedule();
  });
  parts.chart.addEventListener("scroll", () => { if (!state.run.end) panel.schedule(); }, { passive: true }); // to lines not yet rewritten
  // What is said of the model lies over the text, and goes with a click elsewhere or Escape.
  document.addEventListener("click", ({ target }) => { if (!parts.about.contains(target)) parts.about.open = false; });
  parts.about.addEventListener("keydown", (/** @type {KeyboardEvent} */ { key }) => { if (key === "Escape") parts.about.open = false; });
  parts.about.addEventListener("toggle", panel.schedule);
  parts.colour.addEventListener("change", () => { parts.root.dataset.colour = parts.colour.value; });
  parts.strip.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
    parts.strip.setPointerCapture(event.pointerId);
    panel.play(false);
    panel.choose(stepAt(parts, state.run, event.clientX));
  });
  parts.strip.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
    if (event.buttons & 1) panel.choose(stepAt(parts, state.run, event.clientX));
  });
  parts.root.addEventListener("scores", (/** @type {CustomEvent<string>} */ event) => panel.addScores(event.detail));
  parts.root.addEventListener("ended", (/** @type {CustomEvent<{ reason: StopReason, message: string }>} */ event) => panel.endRun(event.detail.reason, event.detail.message));
  listenToTabs(parts, panel);
  listenToKeys(parts, panel);
  listenToResize(parts, panel);
}

/**
 * Plotly's colours and width are read from the page, and its script may come after the run: draw again when they change.
 * @param {Parts} parts
 * @param {Panel} panel
 */
function listenToResize(parts, panel) {
  new MutationObserver(panel.schedule).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  let width = parts.root.clientWidth;
  new ResizeObserver(() => {
    if (parts.root.clientWidth !== width) panel.schedule();
    width = parts.root.clientWidth;
  }).observe(parts.root);
  let tries = 600; // a minute: a file without plotly.js never has it
  const waiting = setInterval(() => {
    if (!window.Plotly && parts.root.isConnected && --tries) return;
    clearInterval(waiting);
    panel.schedule();
  }, 100);
}
