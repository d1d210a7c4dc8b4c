// The panel's tabs: which one is open, by click and by arrow keys.

/** @import { Panel } from "../core/state.js" */
/** @import { Parts } from "./panel_elements.js" */

/**
 * @param {Parts} parts
 * @param {string} name
 * @param {boolean} [comesIntoSight] it answers what was asked elsewhere
 */
export function openTab(parts, name, comesIntoSight = false) {
  for (const tab of parts.tabs) {
    const chosen = tab.id === `gs-tab-${name}`;
    tab.setAttribute("aria-selected", chosen);
    tab.tabIndex = chosen ? 0 : -1;
    parts.root.querySelector(`#${tab.getAttribute("aria-controls")}`).hidden = !chosen;
    if (chosen && comesIntoSight) tab.scrollIntoView({ block: "nearest" });
  }
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
  const open = (tab) => {
    openTab(parts, tab.id.replace("gs-tab-", ""));
    panel.schedule();
  };
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
