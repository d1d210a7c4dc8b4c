// The classroom view: larger type, fewer controls, high contrast, for the last row. One key toggles it, unless somebody is typing; the choice is
// remembered.

import { texts } from "../core/texts.js";
import { isEmbedded } from "../view/environment.js";
import { openTabOf, selectTab } from "../view/tab_list.js";
import { isComposing } from "./keyboard.js";

/** @import { Panel } from "../core/state.js" */
/** @import { Parts } from "../view/panel_elements.js" */

const CLASSROOM_KEY = "c";
const CLASSROOM_REMEMBERED = "greedyscope.classroom";
const NOT_IN_CLASS = ["keep", "reading"]; // tabs, as in classroom.css

/**
 * @param {Parts} parts
 * @param {Panel} panel
 */
export function listenToClassroom(parts, panel) {
  const button = parts.root.querySelector(".gs-classroom");
  /** @type {(on: boolean) => void} */
  const setClassroom = (on) => {
    document.documentElement.classList.toggle("classroom", on);
    button.dataset.text = on ? "classroom.leave" : "classroom.switch"; // it says what a press does
    texts.fillTexts(button.parentElement);
    if (on && NOT_IN_CLASS.includes(openTabOf(parts))) selectTab(parts, "table"); // the class looks at the bars
    panel.schedule();
  };
  const toggleClassroom = () => {
    const on = !document.documentElement.classList.contains("classroom");
    texts.remember(CLASSROOM_REMEMBERED, on ? "on" : "");
    setClassroom(on);
  };
  button.addEventListener("click", toggleClassroom);
  document.addEventListener("keydown", function onKey(event) {
    if (!parts.root.isConnected) return document.removeEventListener("keydown", onKey);
    // With a Korean keyboard the key writes another letter; with Latin ones its letter counts, wherever it is.
    const letter = /^[a-z]$/i.test(event.key) ? event.key.toLowerCase() : event.code.replace(/^Key/, "").toLowerCase();
    if (isComposing(event) || letter !== CLASSROOM_KEY || event.ctrlKey || event.altKey || event.metaKey) return;
    if (!/** @type {Element} */ (event.target).closest("input, textarea, select, [contenteditable]")) toggleClassroom();
  });
  setClassroom(Boolean(texts.remembered(CLASSROOM_REMEMBERED)) && !isEmbedded());
}
