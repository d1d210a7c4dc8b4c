// The elements of panel.html that the scripts read and write, found once. Knows no run.

/** @import { Step } from "../core/run.js" */

/** @typedef {ReturnType<typeof findParts>} Parts */

/** @param {Element} element */
export function findParts(element) {
  const root = element.querySelector(".gs");
  /** @type {(selector: string) => any} */
  const find = (selector) => root.querySelector(selector);
  const buttons = Object.fromEntries([...root.querySelectorAll("[data-go]")].map((button) => [button.dataset.go, button]));
  return {
    root,
    buttons,
    badge: find(".gs-badge"),
    model: find(".gs-model"),
    about: find(".gs-about"),
    why: find(".gs-why"),
    facts: find(".gs-facts"),
    state: find(".gs-state"),
    log: find(".gs-heard"),
    note: find(".gs-note"),
    point: find(".gs-point"),
    message: find(".gs-message"),
    old: find(".gs-old"),
    copy: find(".gs-copy"),
    text: find(".gs-text"),
    promptTokens: find(".gs-prompt-tokens"),
    stepTitle: find(".gs-step-title"),
    axis: { word: find(".gs-axis"), zoom: find(".gs-zoom"), most: 1 },
    chart: find(".gs-chart"),
    plot: find(".gs-plot"),
    plotted: /** @type {{ step: Step | null, looks: string, timer: number } | null} */ (null), // by Plotly; its axis alone, with no step
    bars: find(".gs-bars"),
    listed: /** @type {Step[]} */ ([]), // the step that each line of the list is of
    numbers: find(".gs-numbers"),
    strip: find(".gs-strip"),
    table: find("#gs-page-table table"),
    tableSteps: find("#gs-page-table .gs-steps"),
    tableView: find(".gs-view"),
    map: find(".gs-map"),
    colour: find(".gs-colour"),
    questions: {
      closest: find(".gs-closest"),
      forkClosest: find('[data-ask="closest"]'),
      step: find(".gs-at"),
      own: find(".gs-own"),
      beams: find(".gs-beams"),
      beside: find(".gs-beside"),
      word: find(".gs-word"),
      score: find(".gs-score"),
      loops: find(".gs-loops"),
      proof: find(".gs-proof"),
    },
    compare: {
      list: find(".gs-list"),
      sides: find(".gs-sides"),
      models: { root: find(".gs-models"), sides: [...root.querySelectorAll(".gs-side")], table: find(".gs-aligned") },
      verdict: find(".gs-verdict"),
      left: find(".gs-left"),
      right: find(".gs-right"),
      undo: find('[data-ask="undo"]'),
      redo: find('[data-ask="redo"]'),
    },
    whyTab: find("#gs-page-why"),
    tabs: [...root.querySelectorAll('[role="tab"]')],
  };
}
