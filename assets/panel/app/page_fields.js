// The page's fields beside the run on screen: where a run comes on screen they follow it, and what is typed into them since is known,
// so that the panel can say that it shows another run. Knows the fields' values, not how they are drawn.

import { LIMITS } from "../core/constants.js";
import { shortened } from "../core/descriptions.js";
import { texts } from "../core/texts.js";
import { isComposing } from "./keyboard.js";

const AS_TYPED = { autocorrect: "off", autocapitalize: "off", autocomplete: "off", spellcheck: "false" };

// `drafted` and `asked` are what the page tells the panel: decoding/page/events.py.
export function followFields(parts, view, panel, trigger) {
  const { root } = parts;
  root.addEventListener("drafted", ({ detail }) => {
    view.fields = detail;
    leaveTextAlone();
    panel.schedule();
  });
  root.addEventListener("asked", ({ detail }) => {
    showPicture(root);
    panel.pressed(detail);
  });
  leaveTextAlone();
  // Enter runs; but while a word is put together, as Korean is written, it only ends the word.
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && isComposing(event) && event.target.closest("#prompt")) event.stopPropagation();
  }, { capture: true });
  nameKeysOfRun();
  // On a phone, all but the prompt is behind one button.
  document.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-settings]");
    if (button) openSettings(button.getAttribute("aria-expanded") === "false");
  });

  // In the order of the page's fields; null stays as it is.
  root.fieldsOfRun = () => {
    const { prompt, steps, choices, model } = view.following;
    return [prompt, steps <= LIMITS.steps ? steps : null, choices, view.models.includes(model) ? model : null];
  };

  function follow(run) {
    const { prompt, max_new_tokens: steps, top_k: choices, model } = run.header;
    const [before, following] = [view.fields, { prompt, steps, choices, model: model.id }];
    if (before && Object.keys(following).every((name) => before[name] === following[name])) return;
    Object.assign(view, { following, fields: before && { ...before, ...following } });
    trigger("follow", {});
  }

  return { follow };
}

// A prompt is read as it is typed: no browser writes it otherwise, and it runs the way that its letters run.
function leaveTextAlone() {
  const field = document.querySelector("#prompt textarea");
  if (!field || field.dir === "auto") return;
  field.dir = "auto";
  for (const [name, value] of Object.entries(AS_TYPED)) field.setAttribute(name, value);
}

function openSettings(isOpen) {
  document.querySelector("#bar").classList.toggle("settings", isOpen);
  document.querySelector("[data-settings]")?.setAttribute("aria-expanded", isOpen);
}

// Run was pressed: what comes of it is in sight, and a phone's settings are out of its way.
function showPicture(root) {
  openSettings(false);
  const { top } = root.querySelector(".gs-main").getBoundingClientRect();
  if (top < 0 || top > innerHeight / 2) root.querySelector(".gs-head").scrollIntoView({ block: "start" });
}

// Gradio draws the page part by part, so that the button may come after the panel.
function nameKeysOfRun() {
  const button = document.querySelector("#run");
  if (!button) return setTimeout(nameKeysOfRun, 50);
  button.dataset.textTitle = "page.run.title";
  button.setAttribute("aria-keyshortcuts", "Control+Enter");
  texts.fill(button.parentElement);
}

// Fields and picture apart: a run was asked for that has not begun, or the fields were changed since.
export function drawOld(parts, view, run) {
  const key = view.request && view.silent && view.request.kind !== "agree" ? "old.waiting" : isApart(view, run) ? "old.fields" : null;
  parts.root.classList.toggle("gs-is-old", key !== null);
  parts.old.hidden = key === null;
  if (!key) return parts.old.replaceChildren();
  const { prompt, max_new_tokens: steps, top_k: choices, model } = run.header;
  texts.write(parts.old, key, { prompt: shortened(prompt), steps, choices, model: model.id });
}

// Whether the fields name another run than the one on screen. Of a record from elsewhere the prompt counts alone: its model may not be
// one to choose here.
export function isApart(view, run) {
  const { fields } = view;
  if (!fields || !run.header) return false;
  const { prompt, max_new_tokens: steps, top_k: choices, model } = run.header;
  if (fields.prompt !== prompt) return true;
  if (run.header.note || !view.models.includes(model.id) || steps > LIMITS.steps) return false;
  return fields.steps !== steps || fields.choices !== choices || fields.model !== model.id;
}
