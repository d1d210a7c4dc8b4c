// The panel's tabs: which one is open, by click and by arrow keys.

import { update } from "../core/state.js";

/** @import { Panel, State } from "../core/state.js" */
/** @import { Parts } from "./panel_elements.js" */

/**
 * Nothing is scrolled; for a reader who asked for a tab there is the panel's `openTab`.
 * @param {Parts} parts
 * @param {string} name
 */
export function selectTab(parts, name) {
  for (const tab of parts.tabs) {
    const chosen = tab.id === `gs-tab-${name}`;
    tab.setAttribute("aria-selected", chosen);
    tab.tabIndex = chosen ? 0 : -1;
    parts.root.querySelector(`#${tab.getAttribute("aria-controls")}`).hidden = !chosen;
  }
}

/**
 * Once the tab that was opened is drawn, its name goes to the upper edge, unless three quarters of the window show the tab, or all of it is
 * seen, or another is open by now.
 * @param {Parts} parts
 * @param {State} state
 */
export function bringTabIntoSight(parts, state) {
  const isSought = state.soughtTab === openTabOf(parts);
  update(state, { soughtTab: null });
  if (!isSought) return;
  const tab = parts.tabs.find((each) => each.getAttribute("aria-selected") === "true");
  const { top, bottom } = parts.root.querySelector(`#${tab.getAttribute("aria-controls")}`).getBoundingClientRect();
  const lower = innerHeight - (parseFloat(getComputedStyle(document.documentElement).scrollPaddingBottom) || 0); // what is fixed there
  const isHidden = tab.getBoundingClientRect().top < parseFloat(getComputedStyle(tab).scrollMarginTop);
  if (isHidden || Math.min(bottom, lower) - top < Math.min(bottom - top, 0.75 * lower)) tab.scrollIntoView({ block: "start", inline: "nearest" });
}

/**
 * @param {Parts} parts
 * @returns {string}
 */
export function openTabOf(parts) {
  return parts.tabs.find((tab) => tab.getAttribute("aria-selected") === "true").id.replace("gs-tab-", "");
}

/**
 * @param {Parts} parts
 * @param {Panel} panel
 */
export function listenToTabs(parts, panel) {
  /** @type {(tab: HTMLElement) => void} */
  const open = (tab) => panel.openTab(tab.id.replace("gs-tab-", ""));
  for (const tab of parts.tabs) {
    tab.addEventListener("click", () => open(tab));
    tab.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      const move = /** @type {Record<string, number | undefined>} */ ({ ArrowLeft: -1, ArrowRight: 1 })[event.key];
      if (!move) return;
      const tabs = parts.tabs.filter(({ disabled }) => !disabled);
      const next = tabs.at((tabs.indexOf(tab) + move) % tabs.length);
      next.focus();
      open(next);
    });
  }
}
