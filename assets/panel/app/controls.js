// Hands and keys: clicks, drags and key presses become moves of the panel. Listeners are delegated, so that nothing has to be
// attached again when a drawing is replaced.

import { redo, removeEntry, undo } from "../core/history.js";
import { closestCalls, jsonLines, requestUpTo } from "../core/run.js";
import { listenToTabs } from "../view/tab_list.js";
import { stepAt } from "../view/timeline.js";
import { listenToKeys } from "./keyboard.js";

export function listen(parts, view, keep, panel, onPage) {
  parts.root.addEventListener("click", (event) => {
    if (onPage?.asksFirst(parts, view, event)) return;
    const at = event.target.closest("[data-step], [data-go], [data-candidate], [data-fork], [data-ask], [data-show], [data-remove], [data-token]");
    const { step, go, candidate, at: place, fork, ask, show, remove, of, token } = at?.dataset ?? {};
    // What is said of a question stands below it: on a phone, the top of the page is far away.
    if (ask || fork !== undefined) at.closest(".gs-questions > section")?.append(parts.questions.word);
    if (candidate !== undefined) panel.branch(Number(place ?? view.chosen), Number(candidate));
    else if (fork !== undefined) panel.branch(Number(place), Number(fork), "compare");
    else if (step !== undefined) panel.choose(Number(step));
    else if (go) panel.moves[go]();
    else if (ask) asks[ask]();
    else if (token !== undefined) panel.look(keep.entries[of], Number(token));
    else if (show !== undefined) panel.show(keep.entries[show]);
    else if (remove !== undefined) keepAfter(() => removeEntry(keep, keep.entries[remove]));
    if (step !== undefined || candidate !== undefined || (go && go !== "play")) panel.play(false);
  });
  const keepAfter = (move) => {
    move();
    panel.show(keep.shown);
  };
  // The fork's own Undo: the run that it left, at the step where the reader is.
  const unfork = () => {
    const { chosen } = view;
    keepAfter(() => undo(keep));
    panel.choose(chosen);
    parts.strip.focus({ preventScroll: true }); // the button is gone
  };
  const { own, beams, score, beside } = parts.questions;
  const whole = () => requestUpTo(view.run, 0);
  const asks = {
    unfork,
    undo: () => keepAfter(() => undo(keep)),
    redo: () => keepAfter(() => redo(keep)),
    closest: () => {
      const [call] = closestCalls(view.run);
      if (call) panel.branch(call.index, call.candidates[1].token_id, "compare");
    },
    own: () => panel.ask("branch", { ...requestUpTo(view.run, view.chosen), at: view.chosen, text: own.value }, { step: view.chosen }),
    beam: () => panel.ask("beam", { ...whole(), steps: view.run.steps.length, beams: Number(beams.value) }, { open: "compare" }),
    score: () => panel.ask("score", { ...whole(), text: score.value }, { open: "compare" }),
    beside: () => {
      const { run } = view;
      panel.ask("branch", { ...whole(), model: beside.value }, { kind: "beside", open: "compare", look: (other) => onPage.partingStep(run, other) });
    },
    agree: () => panel.ask("agree", { model: view.run.header.model.id, run: jsonLines(view.run) }),
  };
  parts.copy.addEventListener("click", () => onPage?.copyAddress(parts, view));
  for (const select of [parts.compare.left, parts.compare.right]) select.addEventListener("change", panel.schedule);
  parts.axis.zoom.addEventListener("click", () => {
    const { zoom } = parts.axis;
    zoom.setAttribute("aria-pressed", zoom.getAttribute("aria-pressed") !== "true");
    panel.schedule();
  });
  // What is said of the model lies over the text, and goes with a click elsewhere or Escape.
  document.addEventListener("click", ({ target }) => { if (!parts.about.contains(target)) parts.about.open = false; });
  parts.about.addEventListener("keydown", ({ key }) => { if (key === "Escape") parts.about.open = false; });
  parts.about.addEventListener("toggle", panel.schedule);
  parts.colour.addEventListener("change", () => { parts.root.dataset.colour = parts.colour.value; });
  parts.strip.addEventListener("pointerdown", (event) => {
    parts.strip.setPointerCapture(event.pointerId);
    panel.play(false);
    panel.choose(stepAt(parts, view.run, event.clientX));
  });
  parts.strip.addEventListener("pointermove", (event) => {
    if (event.buttons & 1) panel.choose(stepAt(parts, view.run, event.clientX));
  });
  parts.root.addEventListener("ended", (event) => panel.ended(event.detail.reason, event.detail.message));
  listenToTabs(parts, panel);
  listenToKeys(parts, panel);
  listenToLooks(parts, panel);
}

// Plotly's colours and width are read from the page, and its script may come after the run: draw again when they change.
function listenToLooks(parts, panel) {
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
