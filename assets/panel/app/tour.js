// The guided tour: eight stops on the panel's own controls, each with something to do there. Its card stays at the lower edge of the
// screen, and the parts that it explains are scrolled into sight above it. This browser remembers where the reader stopped.

import { texts } from "../core/texts.js";
import { setText } from "../view/elements.js";
import { hasOnlyTouch } from "../view/environment.js";
import { openTabOf } from "../view/tab_list.js";
import { markChip } from "../view/text.js";

/** @import { Run } from "../core/run.js" */
/** @import { Panel } from "../core/state.js" */
/** @import { History } from "../core/history.js" */
/** @import { State } from "../core/state.js" */
/** @import { Formulas } from "../tabs/formulas.js" */
/** @import { Temperature } from "../view/temperature.js" */
/** @import { Parts } from "../view/panel_elements.js" */

const TOUR = "greedyscope.tour";

/**
 * The parts that a stop talks about, those that come later last; `after`, those that it sends the reader to who has done it. One that asks for
 * the last step starts at the first. `isDone` looks at the panel and sees whether the reader has done it.
 * @type {{ name: string, about: string[], after?: string[], startsAtFirst?: boolean, isDone: (seen: TourView) => boolean }[]}
 */
const STOPS = [
  { name: "probabilities", about: [".gs-chart"], isDone: ({ state, start }) => state.chosen !== start.chosen || state.whole !== start.run },
  { name: "softmax", about: ["#gs-tab-lesson", ".gs-softmax .gs-formula", ".gs-chain"], isDone: ({ formulas }) => formulas.softmax.highlighted !== null },
  { name: "argmax", about: [".gs-chart", ".gs-temperature"], isDone: ({ temperature }) => temperature.power !== 1 },
  { name: "again", about: ['[data-go="play"]', ".gs-strip"], isDone: ({ state }) => state.player !== null },
  { name: "product", about: ["#gs-tab-lesson", ".gs-lines"], startsAtFirst: true, isDone: ({ state, tab }) => tab === "lesson" && state.chosen > 0 && state.chosen === state.run.steps.length - 1 },
  { name: "fork", about: ["#gs-tab-whatif", '[data-ask="closest"]', ".gs-verdict"], isDone: ({ history, start, tab, isFile }) => (isFile ? tab === "whatif" : history.shown.kind === "branch" && history.shown.run !== start.run) },
  { name: "repeats", about: ["#example-repeats", "#run"], after: ["#gs-tab-whatif", "section:has(> .gs-loops)"], isDone: ({ state, start, tab, isFile }) => (isFile ? tab === "whatif" : state.whole !== start.run && (state.whole.end?.loops?.length ?? 0) > 0) },
  { name: "predict", about: [".gs:not(.gs-predicting) #gs-tab-lesson", '.gs:not(.gs-predicting) .gs-lesson-start [data-predict="start"]', ".gs-question", ".gs-main:has(.gs-question[hidden]) .gs-tally"], isDone: ({ predict }) => predict.countGuesses() > 0 },
];
/**
 * @typedef {object} TourContext
 * @property {State} state
 * @property {History} history
 * @property {Formulas} formulas
 * @property {Temperature} temperature
 * @property {{ countGuesses: () => number }} predict
 */

/** @typedef {{ run: Run, chosen: number }} StopStart where the reader was when a stop began */

/** @typedef {TourContext & { isFile: boolean, start: StopStart, tab: string }} TourView what a stop looks at */

const WITHOUT_KEYS = ["probabilities", "softmax", "again", "product"]; // what they ask for is said in other words where there are none

/**
 * @param {Parts} parts
 * @param {TourContext} context
 * @param {Panel} panel
 */
export function startTour(parts, context, panel) {
  const { root } = parts;
  const card = root.querySelector(".gs-tour");
  const [place, title, text, task, doneNote] = ["place", "title", "text", "task", "status"].map((name) => card.querySelector(`.gs-tour-${name}`));
  /** @type {(name: string) => ReturnType<ParentNode["querySelector"]>} */
  const button = (name) => card.querySelector(`[data-tour="${name}"]`);
  const isFile = !root.closest(".gradio-container");
  const tour = { at: /** @type {number | null} */ (null), done: false, start: /** @type {StopStart | null} */ (null), seen: "" };

  /** @returns {TourView} */
  function tourView() {
    const { state, formulas, temperature, history, predict } = context;
    return { state, formulas, temperature, history, predict, isFile, start: /** @type {StopStart} */ (tour.start), tab: openTabOf(parts) };
  }

  /** @param {number} at */
  function goToStop(at) {
    if (at >= STOPS.length) return closeTour({ isOver: true });
    Object.assign(tour, { at: Math.max(0, at), done: false, seen: "", start: { run: context.state.whole, chosen: context.state.chosen } });
    context.formulas.softmax.highlighted = null; // pointing is asked for at one of the stops, and what was lit before does not count
    rememberStop(Number(tour.at));
    if (STOPS[Number(tour.at)].startsAtFirst) {
      panel.play(false);
      panel.choose(0);
    }
    card.hidden = false;
    panel.schedule();
    card.focus({ preventScroll: true });
  }

  function closeTour({ isOver = false } = {}) {
    if (isOver) rememberStop(0);
    tour.at = null;
    card.hidden = true;
    setBand(false);
    makeRoom();
    for (const part of document.querySelectorAll(".gs-toured")) part.classList.remove("gs-toured");
    panel.schedule();
    const [open] = root.querySelectorAll('[data-tour="open"]');
    open.hidden = false; // at once: what is hidden cannot be focused
    open.focus();
  }

  function draw() {
    const left = rememberedStop();
    for (const open of root.querySelectorAll('[data-tour="open"]')) {
      open.hidden = tour.at !== null;
      setText(open, texts.translate(left ? "tour.resume" : "tour.start", { place: left + 1, total: STOPS.length }));
    }
    if (tour.at === null) return;
    const stop = STOPS[tour.at];
    tour.done ||= Boolean(stop.isDone(tourView()));
    const example = texts.translate(`example.${stop.name === "fork" ? "closest" : "repeats"}`);
    place.textContent = texts.translate("tour.place", { place: tour.at + 1, total: STOPS.length });
    title.textContent = texts.translate(`tour.${stop.name}`);
    text.textContent = texts.translate(`tour.${stop.name}.text`);
    const way = isFile && ["fork", "repeats"].includes(stop.name) ? "file" : hasOnlyTouch() && WITHOUT_KEYS.includes(stop.name) ? "touch" : "task";
    task.textContent = texts.translate(`tour.${stop.name}.${way}`, { example });
    const sentence = tour.done ? texts.translate("tour.done") : "";
    if (doneNote.textContent !== sentence) doneNote.textContent = sentence; // spoken once
    card.classList.toggle("gs-tour-done", tour.done);
    button("back").disabled = tour.at === 0;
    button("next").textContent = texts.translate(!tour.done ? "tour.skip" : tour.at === STOPS.length - 1 ? "tour.finish" : "tour.next");
    const abouts = tour.done && stop.after ? stop.after : stop.about;
    for (const part of document.querySelectorAll(".gs-toured")) if (!abouts.some((about) => part.matches(about))) part.classList.remove("gs-toured");
    for (const about of abouts) document.querySelector(about)?.classList.add("gs-toured");
    makeRoom();
    const shown = abouts.filter((about) => document.querySelector(about)?.checkVisibility());
    const there = shown.map((about) => document.querySelector(about));
    // Where a part or the card has grown, one may lie under the other.
    const seen = [tour.at, ...shown, ...there.map((part) => part.offsetHeight), card.offsetHeight, innerWidth].join();
    if (seen !== tour.seen && !root.matches(".gs-predicting")) bringIntoSight(there); // what is asked comes into sight by itself
    tour.seen = seen;
  }

  // The page keeps as much room below itself as the card takes, so that all of it can be scrolled clear of the card. Where the player
  // stays at the lower edge too, the card stands on it.
  function makeRoom() {
    const player = root.querySelector(".gs-player");
    const below = getComputedStyle(player).position === "fixed" ? player.offsetHeight : 0;
    card.style.bottom = `${below}px`;
    document.documentElement.style.setProperty("--tour-room", `${card.hidden ? 0 : card.offsetHeight}px`);
    return innerHeight - below - card.offsetHeight;
  }

  /** @type {HTMLElement} */
  const column = parts.text.closest(".gs-column");
  const main = root.querySelector(".gs-main");

  /**
   * The text as a band at the window's upper edge, as wide as its column: what is beside it is seen.
   * @param {boolean} isOn
   */
  function setBand(isOn) {
    column.style.removeProperty("--band-end");
    if (isOn) column.style.setProperty("--band", `${column.offsetWidth}px`);
    root.classList.toggle("gs-band", isOn);
  }

  // It ends where the picture does, so that it lies on no tab and leaves no empty zone. Up at the fields, the text itself is there.
  function fitBand() {
    const { top, bottom } = main.getBoundingClientRect();
    if (top > 0) setBand(false);
    else column.style.setProperty("--band-end", `${bottom}px`);
    markChip(parts, context.state.chosen); // in what is left of the text's box
  }

  /**
   * The text and all parts together where there is room for them, or else those that came last. Over parts of a tab, the text becomes a band
   * at the screen's upper edge.
   * @param {HTMLElement[]} shown
   */
  function bringIntoSight(shown) {
    const [room, gap] = [makeRoom(), 8];
    for (const part of shown) { // on a phone, a row of buttons is wider than the screen
      const row = part.closest(".chips, [role='tablist']");
      if (row) row.scrollLeft += part.getBoundingClientRect().left - row.getBoundingClientRect().left - gap;
    }
    setBand(false);
    const moving = shown.filter((part) => getComputedStyle(part.closest(".gs-player") ?? part).position !== "fixed" && part !== parts.text);
    moving.unshift(parts.text);
    /** @type {() => [number, number]} */
    const edges = () => {
      const boxes = moving.map((part) => part.getBoundingClientRect());
      return [Math.min(...boxes.map(({ top }) => top)) - gap, Math.max(...boxes.map(({ bottom }) => bottom)) + gap];
    };
    const upper = () => (root.matches(".gs-band") ? column.offsetHeight : 0);
    const isTooHigh = () => edges()[1] - edges()[0] > room - upper();
    if (isTooHigh() && shown.every((part) => part.closest(".gs-tabs"))) {
      moving.shift();
      setBand(true);
    }
    const count = moving.length;
    while (moving.length > 1 && isTooHigh()) moving.shift();
    if (isTooHigh()) setBand(false); // what the tour speaks of goes before
    const [top, bottom] = edges();
    const down = Math.min(top - upper(), bottom - room);
    if (bottom > room || moving.length < count) scrollBy(0, down); // as much of the others as there is room for
    else if (top < upper()) scrollBy(0, top - upper());
    fitBand();
  }

  addEventListener("scroll", () => { if (root.matches(".gs-band")) fitBand(); }, { passive: true });

  root.addEventListener("click", (/** @type {PageEvent<MouseEvent>} */ event) => {
    const move = event.target.closest("[data-tour]")?.dataset.tour;
    if (move === "open") goToStop(rememberedStop());
    if (move === "back") goToStop(Number(tour.at) - 1);
    if (move === "next") goToStop(Number(tour.at) + 1);
    if (move === "leave") closeTour();
  });
  card.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Escape") closeTour();
  });
  // Pointing at a formula draws nothing else.
  for (const name of ["pointerover", "focusin"]) root.addEventListener(name, () => { if (tour.at !== null && !tour.done) draw(); });
  new ResizeObserver(makeRoom).observe(card);
  return { draw };
}

// A page in a closed frame may not remember anything; then a tour begins anew.
function rememberedStop() {
  try {
    const at = Number(localStorage.getItem(TOUR) ?? 0);
    return Number.isInteger(at) && at > 0 && at < STOPS.length ? at : 0;
  } catch {
    return 0;
  }
}

/** @param {number} at */
function rememberStop(at) {
  try {
    localStorage.setItem(TOUR, String(at));
  } catch {
    // then it is forgotten
  }
}
