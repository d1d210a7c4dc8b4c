// The panel's keys: each becomes a move of the panel, unless it has a meaning of its own where it is pressed.

import { candidateButtons, markTabStop } from "../view/bars.js";

/** @import { Panel } from "../core/state.js" */
/** @import { Parts } from "../view/panel_elements.js" */

/** @type {Record<string, string | undefined>} */
const KEYS = { ArrowLeft: "previous", ArrowRight: "next", Home: "first", End: "last", " ": "play" };

/**
 * @param {Parts} parts
 * @param {Panel} panel
 */
export function listenToKeys(parts, panel) {
  /** @param {PageEvent<KeyboardEvent>} event */
  function onKey(event) {
    if (!parts.root.isConnected) return document.removeEventListener("keydown", onKey);
    if (isComposing(event)) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.defaultPrevented) return document.querySelector("#run:enabled")?.click();
    if (event.key === "Enter" && event.target.matches(".gs-questions input")) return event.target.closest("section").querySelector("[data-ask]").click();
    const go = KEYS[event.key];
    const direction = arrowDirection(event);
    if ((!go && !direction) || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey || event.defaultPrevented) return;
    // Where a key has a meaning of its own, it keeps it.
    if (event.target.closest("input, textarea, select, [contenteditable], [role='tab'], [role='listbox'], [role='option']")) return;
    if (go === "play" && event.target.closest("button, summary, a")) return;
    if (direction && (!parts.root.contains(event.target) || event.target.closest("[role='tabpanel']"))) return; // there these keys scroll the page
    event.preventDefault();
    if (direction) return focusCandidate(parts, direction);
    if (go !== "play") panel.play(false);
    if (go) panel.moves[go]();
  }
  document.addEventListener("keydown", onKey);
  parts.bars.addEventListener("focusin", () => markTabStop(parts)); // by a click, too
}

/**
 * While a word is put together of letters, as Korean is written, no key is a shortcut. Safari tells it by the code 229.
 * @param {KeyboardEvent} event
 * @returns {boolean}
 */
export function isComposing(event) {
  return event.isComposing || event.keyCode === 229;
}

/**
 * Where an arrow key goes in a list that stands upright; 0 for other keys.
 * @param {KeyboardEvent} event
 * @returns {number}
 */
export function arrowDirection({ key }) {
  return key === "ArrowUp" ? -1 : Number(key === "ArrowDown");
}

/**
 * @param {Parts} parts
 * @param {number} direction
 */
function focusCandidate(parts, direction) {
  const buttons = candidateButtons(parts);
  const place = buttons.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
  const next = place < 0 ? 0 : Math.min(Math.max(place + direction, 0), buttons.length - 1);
  buttons[next]?.focus();
}
