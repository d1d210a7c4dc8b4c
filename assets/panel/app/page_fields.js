// The page's fields and the run on screen. The fields follow a run that comes on screen; when they are edited afterwards, the panel says
// that it shows another run. Knows the fields' values, not how they are drawn.

import { LIMITS } from "../core/constants.js";
import { shortened } from "../core/descriptions.js";
import { ANSWERED_HERE, update } from "../core/state.js";
import { texts } from "../core/texts.js";
import { showMessages } from "../view/messages.js";
import { keepButtonFocus } from "./button_focus.js";
import { isComposing } from "./keyboard.js";

/** @import { Run } from "../core/run.js" */
/** @import { Fields, Panel, Question, State, Trigger } from "../core/state.js" */
/** @import { Parts } from "../view/panel_elements.js" */

const SWITCHES = /** @type {const} */ (["past_end", "as_message"]);
const AS_TYPED = { autocorrect: "off", autocapitalize: "off", autocomplete: "off", spellcheck: "false" };

/**
 * `drafted` and `asked` are what the page tells the panel: gradio_events.js.
 * @param {Parts} parts
 * @param {State} state
 * @param {Panel} panel
 * @param {Trigger} trigger
 */
export function followFields(parts, state, panel, trigger) {
  const { root } = parts;
  root.addEventListener("drafted", (/** @type {CustomEvent<Fields>} */ { detail }) => {
    update(state, { fields: detail });
    turnOffTextCorrection();
    panel.schedule();
  });
  root.addEventListener("asked", (/** @type {CustomEvent<Question & Fields>} */ { detail }) => {
    bringPictureIntoSight(root);
    panel.startRequest(detail);
  });
  turnOffTextCorrection();
  // Enter runs; but while a word is put together, as Korean is written, it only ends the word. Gradio opens its list a moment
  // after any key: after Tab the focus has left by then, and the list would stay open.
  document.addEventListener("keydown", (event) => {
    const field = /** @type {Element} */ (event.target);
    const endsWord = event.key === "Enter" && isComposing(event) && field.closest("#prompt");
    const leavesList = (event.key === "Tab" || event.key === "Shift") && field.closest("#model");
    if (endsWord || leavesList) event.stopPropagation();
  }, { capture: true });
  labelRunButton();
  keepButtonFocus();
  listenToProblems(parts);
  // On a phone, all but the prompt is behind one button.
  document.addEventListener("click", ({ target }) => {
    const button = /** @type {Element} */ (target).closest("[data-settings]");
    if (button) setSettingsOpen(button.getAttribute("aria-expanded") === "false");
  });

  // In the order of the page's fields; null stays as it is.
  root.fieldsOfRun = () => {
    if (!state.followedFields) return [null, null, null, null, null, null];
    const { prompt, steps, choices, model, past_end: pastEnd, as_message: asMessage } = state.followedFields;
    return [prompt, Number(steps) <= LIMITS.steps ? steps : null, choices, state.models.includes(model) ? model : null, pastEnd, asMessage];
  };

  /** @param {Run} run */
  function followRun(run) {
    const { prompt, max_new_tokens: steps, top_k: choices, model } = run.header;
    const switches = { past_end: Boolean(run.header.past_end), as_message: Boolean(run.header.as_message) };
    const [before, followedFields] = [state.fields, { prompt, steps, choices, model: model.id, ...switches }];
    if (before && /** @type {(keyof typeof followedFields)[]} */ (Object.keys(followedFields)).every((name) => before[name] === followedFields[name])) return;
    update(state, { followedFields, fields: before && { ...before, ...followedFields } });
    trigger("follow", {});
  }

  return { followRun };
}

// A prompt is read as it is typed: no browser writes it otherwise, and it runs the way that its letters run.
function turnOffTextCorrection() {
  const field = document.querySelector("#prompt textarea");
  if (!field || field.dir === "auto") return;
  field.dir = "auto";
  for (const [name, value] of Object.entries(AS_TYPED)) field.setAttribute(name, value);
}

/**
 * A message beside a field lies over the examples: it goes once a field is edited, an example or another model is chosen, Escape is pressed, or
 * it is clicked itself; a text selected in it may be copied first.
 * @param {Parts} parts
 */
function listenToProblems(parts) {
  const clear = () => showMessages(parts, JSON.stringify(Object.fromEntries([...document.querySelectorAll(".problem")].map(({ id }) => [id, ""]))), null);
  parts.root.clearProblems = clear; // for Gradio's list of models: decoding/page/model_picker.py
  parts.root.addEventListener("asked", clear);
  document.addEventListener("input", ({ target }) => { if (/** @type {Element} */ (target).closest("#bar")) clear(); });
  document.addEventListener("keydown", ({ key }) => { if (key === "Escape") clear(); });
  document.addEventListener("click", ({ target }) => {
    if (target.closest(".chips > button") || (target.closest(".problem") && !String(getSelection()))) clear();
  });
}

/** @param {boolean} isOpen */
function setSettingsOpen(isOpen) {
  document.querySelector("#bar").classList.toggle("settings", isOpen);
  document.querySelector("[data-settings]")?.setAttribute("aria-expanded", isOpen);
}

/**
 * Run was pressed, or a file opened: what comes of it is in sight, and a phone's settings are out of its way.
 * @param {HTMLElement} root
 */
export function bringPictureIntoSight(root) {
  setSettingsOpen(false);
  const { top } = root.querySelector(".gs-main").getBoundingClientRect();
  if (top < 0 || top > innerHeight / 2) root.querySelector(".gs-head").scrollIntoView({ block: "start" });
}

// Gradio draws the page part by part, so that the button may come after the panel.
function labelRunButton() {
  const button = document.querySelector("#run");
  if (!button) return setTimeout(labelRunButton, 50);
  button.dataset.textTitle = "page.run.title";
  button.setAttribute("aria-keyshortcuts", "Control+Enter");
  for (const name of SWITCHES) document.querySelector(`#${name.replace("_", "-")} label`)?.setAttribute("data-text-title", `page.${name}.title`);
  texts.fillTexts(button.parentElement);
}

/**
 * Fields and picture apart: a run was asked for that has not begun, or the fields were changed since.
 * @param {Parts} parts
 * @param {State} state
 * @param {Run} run
 */
export function drawStaleNote(parts, state, run) {
  const key = state.request && state.isSilent && !ANSWERED_HERE.includes(state.request.kind ?? "") ? "old.waiting" : run.end && fieldsDiffer(state, run) ? "old.fields" : isInsteadOfLink(state, run) ? "old.link" : null;
  parts.root.classList.toggle("gs-is-old", key !== null);
  parts.old.hidden = key === null;
  if (!key) return parts.old.replaceChildren();
  const { prompt, max_new_tokens: steps, top_k: choices, model } = run.header;
  texts.write(parts.old, key, { prompt: shortened(prompt), steps, choices, model: model.id });
}

/**
 * Whether the address names a run that was refused, and a recorded one is on screen.
 * @param {State} state
 * @param {Run} run
 */
function isInsteadOfLink(state, run) {
  return state.isLinkRefused && !state.request && run.header.note && new URLSearchParams(location.search).has("run");
}

/**
 * Whether the fields name another run than the one on screen. Of a record from elsewhere the prompt counts alone: its model may not be
 * one to choose here.
 * @param {State} state
 * @param {Run} run
 * @returns {boolean}
 */
export function fieldsDiffer(state, run) {
  const { fields } = state;
  if (!fields || !run.header) return false;
  const { prompt, max_new_tokens: steps, top_k: choices, model } = run.header;
  if (fields.prompt !== prompt || SWITCHES.some((name) => Boolean(fields[name]) !== Boolean(run.header[name]))) return true;
  if (run.header.note || !state.models.includes(model.id) || steps > LIMITS.steps) return false;
  return fields.steps !== steps || fields.choices !== choices || fields.model !== model.id;
}
