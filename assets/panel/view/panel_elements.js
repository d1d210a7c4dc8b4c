// The elements of panel.html that the scripts read and write, found once. Knows no run.

/** @import { Step } from "../core/run.js" */

/** @typedef {ReturnType<typeof findParts>} Parts */

/** @param {Element} element */
export function findParts(element) {
  const root = element.querySelector(".gs");
  /** @type {(selector: string) => any} */
  const one = (selector) => root.querySelector(selector);
  const buttons = Object.fromEntries([...root.querySelectorAll("[data-go]")].map((button) => [button.dataset.go, button]));
  return {
    root,
    buttons,
    badge: one(".gs-badge"),
    model: one(".gs-model"),
    about: one(".gs-about"),
    why: one(".gs-why"),
    facts: one(".gs-facts"),
    state: one(".gs-state"),
    log: one(".gs-heard"),
    note: one(".gs-note"),
    point: one(".gs-point"),
    message: one(".gs-message"),
    old: one(".gs-old"),
    copy: one(".gs-copy"),
    text: one(".gs-text"),
    promptTokens: one(".gs-prompt-tokens"),
    stepTitle: one(".gs-step-title"),
    axis: { word: one(".gs-axis"), zoom: one(".gs-zoom"), most: 1 },
    chart: one(".gs-chart"),
    plot: one(".gs-plot"),
    plotted: /** @type {{ step: Step | null, looks: string, timer: number } | null} */ (null), // by Plotly; its axis alone, with no step
    bars: one(".gs-bars"),
    listed: /** @type {Step | null} */ (null), // the step whose bars are in the list
    numbers: one(".gs-numbers"),
    strip: one(".gs-strip"),
    table: one("#gs-page-table table"),
    tableSteps: one("#gs-page-table .gs-steps"),
    tableView: one(".gs-view"),
    map: one(".gs-map"),
    colour: one(".gs-colour"),
    questions: {
      closest: one(".gs-closest"),
      forkClosest: one('[data-ask="closest"]'),
      step: one(".gs-at"),
      own: one(".gs-own"),
      beams: one(".gs-beams"),
      beside: one(".gs-beside"),
      word: one(".gs-word"),
      score: one(".gs-score"),
      loops: one(".gs-loops"),
      proof: one(".gs-proof"),
    },
    compare: {
      list: one(".gs-list"),
      sides: one(".gs-sides"),
      models: { root: one(".gs-models"), sides: [...root.querySelectorAll(".gs-side")], table: one(".gs-aligned") },
      verdict: one(".gs-verdict"),
      left: one(".gs-left"),
      right: one(".gs-right"),
      undo: one('[data-ask="undo"]'),
      redo: one('[data-ask="redo"]'),
    },
    whyTab: one("#gs-page-why"),
    tabs: [...root.querySelectorAll('[role="tab"]')],
  };
}
