// Predict, then reveal. The panel sees the run only up to the step to be guessed, so the answer appears nowhere: not in the text, the bars,
// the timeline or the table, and not for a screen reader. A guess, or the class's raised hands, reveals the step.

import { matchingOption, mostBeyondCandidates, shuffledOptions } from "../core/guesses.js";
import { optionsOf } from "../core/log_sums.js";
import { update } from "../core/state.js";
import { texts } from "../core/texts.js";
import { labelOf } from "../core/tokens.js";
import { visible } from "../core/visible.js";
import { announce, announceGuess, clearMarks, drawQuestion, drawTally, markGuess, optionItem } from "./guesses_shown.js";
import { arrowDirection, isComposing } from "./keyboard.js";

/** @import { Candidate, Run, Step } from "../core/run.js" */
/** @import { Panel, State } from "../core/state.js" */
/** @import { Parts } from "../view/panel_elements.js" */
/** @import { Guessed } from "./guesses_shown.js" */

/** @typedef {{ draw: (step: Step | undefined, isHidden: boolean) => void }} ClassVote */

/**
 * @typedef {object} Game
 * @property {boolean} isOn
 * @property {ClassVote | null} vote a class that votes with its phones
 * @property {Run | null} run
 * @property {Run | null} visibleRun as much of it as may be seen
 * @property {number} revealed
 * @property {Guessed[]} guesses
 * @property {number[]} votes raised hands, by the places of the candidates
 * @property {string} listed
 * @property {Step} [options] whose candidates are listed
 */

/**
 * @param {Parts} parts
 * @param {State} state
 * @param {Panel} panel
 */
export function startPredicting(parts, state, panel) {
  const { root } = parts;
  /** @type {(selector: string) => ReturnType<ParentNode["querySelector"]>} */
  const find = (selector) => root.querySelector(selector);
  const box = find(".gs-predict");
  const slots = { question: find(".gs-question"), form: find(".gs-question form"), guess: find(".gs-guess"), options: find(".gs-options"), hands: find(".gs-hands"), reveal: find('[data-predict="reveal"]'), next: find('[data-predict="next"]'), outcome: find(".gs-outcome"), tally: find(".gs-tally") };
  /** @type {Game} */
  const game = { isOn: false, vote: null, run: null, visibleRun: null, revealed: 0, guesses: [], votes: [], listed: "" };

  // ---- the run, as far as it may be seen

  /**
   * @param {Run} run
   * @returns {Run}
   */
  function visiblePart(run) {
    if (!game.isOn) return run;
    if (game.run !== run) clearRound(run);
    if (game.visibleRun?.steps.length !== game.revealed) {
      game.visibleRun = { ...run, steps: run.steps.slice(0, game.revealed), pieces: run.pieces.slice(0, game.revealed), end: null };
    }
    return game.visibleRun;
  }

  /**
   * Whatever a round leaves behind: guesses, hands, their marks and sums. The next one, or the run itself, begins without.
   * @param {Run | null} run
   */
  function clearRound(run) {
    Object.assign(game, { run, visibleRun: null, revealed: 0, guesses: [], votes: [], listed: "" });
    slots.guess.value = "";
    slots.outcome.textContent = "";
    delete slots.outcome.dataset.key;
    slots.tally.hidden = true;
    clearMarks(parts.bars);
  }

  // The last step that can be looked at: the one to be guessed, where there is another.
  function lastStep() {
    const { length } = visiblePart(state.whole).steps;
    return game.isOn && (length < state.whole.steps.length || !state.whole.end) ? length : length - 1;
  }

  /** @returns {Step | undefined} */
  const stepToGuess = () => (game.isOn && state.chosen === game.revealed ? state.whole.steps[game.revealed] : undefined);

  // ---- guessing

  function start() {
    game.isOn = true;
    clearRound(state.whole);
    visiblePart(state.whole); // at once: the next drawing would take back the guess of a reader who is faster
    update(state, { chosen: 0, followsLast: false });
    panel.play(false);
    // Remove what is drawn already: until the next drawing the answer could be read, or announced again.
    for (const drawn of [parts.log, parts.tableSteps, parts.text]) drawn.replaceChildren();
    panel.redraw();
    if (game.vote) return;
    focus(slots.guess);
    bringIntoSight();
  }

  // The score, the whole question or the answer, and the title; where there is no room for all, what comes later.
  function bringIntoSight() {
    const bring = () => { for (const part of [slots.tally, box, parts.stepTitle]) part.scrollIntoView({ block: "nearest" }); };
    requestAnimationFrame(() => requestAnimationFrame(bring));
  }

  function stop() {
    game.isOn = false;
    slots.hands.checked = false;
    clearRound(null);
    panel.redraw();
    root.focus({ preventScroll: true });
  }

  /**
   * `option` is null for a token that the run did not keep; only bounds are known for it.
   * @param {Candidate | null} option
   * @param {string | null} guessText
   */
  function recordGuess(option, guessText, hands = /** @type {Guessed["hands"]} */ (null)) {
    const step = stepToGuess();
    if (!step) return;
    const guess = option ? { rank: option.rank, probability: option.probability } : { rank: null, probability: mostBeyondCandidates(step) };
    game.guesses[game.revealed] = { ...guess, text: guessText, hands, options: optionsOf(step).length, isSkipped: guessText === null };
    game.revealed += 1;
    slots.guess.value = "";
    panel.schedule();
    slots.next.disabled = lastStep() < game.revealed;
    if (game.vote) return;
    focus(slots.next.disabled ? find('[data-predict="stop"]') : slots.next);
    bringIntoSight();
  }

  /** @param {Step} step */
  function guessTyped(step) {
    const typed = slots.guess.value.trim();
    if (!typed) return announce(slots.outcome, "predict.empty");
    const option = matchingOption(optionsOf(step), slots.guess.value);
    recordGuess(option, option ? labelOf(option) : visible(typed));
  }

  /**
   * One candidate is the guess, or has one more hand raised for it.
   * @param {number} place
   */
  function chooseOption(place) {
    const step = stepToGuess();
    const option = step && shuffledOptions(step)[place];
    if (!option) return; // the second of two fast presses, too
    if (!slots.hands.checked) return recordGuess(option, labelOf(option));
    game.votes[place] = Math.min(999, (game.votes[place] ?? 0) + 1);
    slots.options.querySelectorAll("input")[place].value = game.votes[place];
  }

  // The class's guess is the candidate with the most hands. Without a raised hand, or where two have as many, the step is shown and no
  // guess counts.
  function reveal() {
    const step = stepToGuess();
    if (!step) return;
    const options = shuffledOptions(step);
    const votes = options.map((_, place) => game.votes[place] ?? 0);
    const most = Math.max(...votes);
    const option = most > 0 && votes.indexOf(most) === votes.lastIndexOf(most) ? options[votes.indexOf(most)] : null;
    const hands = Object.fromEntries(options.map(({ rank }, place) => [rank, votes[place]]));
    recordGuess(option, option ? labelOf(option) : null, hands);
  }

  function next() {
    game.votes = [];
    panel.choose(game.revealed);
    const step = stepToGuess();
    if (step) drawOptions(step);
    if (game.vote) return;
    focus(slots.hands.checked ? slots.options.querySelector("button") : slots.guess);
    bringIntoSight();
  }

  /**
   * At once, not with the next drawing: a fast typist would lose the first letters.
   * @param {HTMLElement} part
   */
  function focus(part) {
    for (let node = part; node !== root; node = /** @type {HTMLElement} */ (node.parentElement)) node.hidden = false;
    part.focus({ preventScroll: true }); // bringIntoSight scrolls
  }

  // ---- drawing

  const isHidden = () => game.isOn && state.chosen === game.revealed;

  // Before the bars are drawn: what is hidden has no width to draw for.
  function hideStep() {
    for (const part of [parts.chart, parts.numbers, find(".gs-temperature")]) part.hidden = isHidden();
  }

  function draw() {
    root.classList.toggle("gs-predicting", game.isOn);
    box.hidden = !game.isOn;
    for (const tab of parts.tabs) tab.disabled = game.isOn && !["table", "lesson", "reading"].includes(tab.id.replace("gs-tab-", ""));
    parts.buttons.play.disabled = game.isOn;
    const step = stepToGuess();
    if (!game.isOn) return;
    slots.question.hidden = !step;
    if (isHidden()) drawQuestion(parts, game.revealed + 1);
    if (step) drawOptions(step);
    slots.reveal.hidden = !slots.hands.checked;
    slots.next.hidden = isHidden();
    slots.next.disabled = lastStep() < game.revealed;
    drawOutcome(step);
    drawTally(slots.tally, state.run, game.guesses);
    game.vote?.draw(step, isHidden());
  }

  /** @param {Step} step */
  function drawOptions(step) {
    const drawn = [step.index, slots.hands.checked, texts.language()].join();
    if (game.listed === drawn && game.options === step) return; // a button that is replaced loses its focus
    Object.assign(game, { listed: drawn, options: step });
    slots.options.replaceChildren(...shuffledOptions(step).map((option, place) => (
      optionItem(option, place, slots.hands.checked ? (game.votes[place] ?? 0) : null, (hands) => { game.votes[place] = hands; }))));
  }

  /** @param {Step | undefined} step */
  function drawOutcome(step) {
    const guess = game.guesses[state.chosen];
    clearMarks(parts.bars);
    if (isHidden()) {
      if (!step) announce(slots.outcome, "predict.waiting");
      else if (slots.outcome.dataset.key !== "predict.empty") announce(slots.outcome, "predict.open");
      return;
    }
    if (!guess) return;
    const shown = state.run.steps[state.chosen];
    texts.write(parts.stepTitle, "predict.step", { step: state.chosen + 1, token: labelOf(shown.picked) });
    markGuess(parts.bars, guess, shown);
    const ending = slots.next.disabled && state.chosen === game.revealed - 1 ? ` ${texts.translate("predict.over")}` : "";
    announceGuess(slots.outcome, guess, shown.picked, ending);
  }

  // ---- hands and keys

  /** @type {Record<string, () => void>} */
  const moves = { start, stop, reveal, next };
  root.addEventListener("click", (/** @type {PageEvent<MouseEvent>} */ event) => {
    const { predict, guess } = event.target.closest("[data-predict], [data-guess]")?.dataset ?? {};
    if (predict) moves[predict]();
    if (guess !== undefined) chooseOption(Number(guess));
  });
  slots.form.addEventListener("submit", (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const step = stepToGuess();
    if (step) guessTyped(step);
  });
  slots.hands.addEventListener("change", panel.schedule);
  slots.question.addEventListener("keydown", (/** @type {PageEvent<KeyboardEvent>} */ event) => {
    const along = arrowDirection(event);
    const buttons = [...slots.options.querySelectorAll("button")];
    if (event.key === "Escape") buttons[0]?.focus(); // out of the field, where a digit is a guess
    if (!along || /** @type {HTMLInputElement} */ (event.target).type === "number") return;
    const place = buttons.indexOf(document.activeElement) + along;
    (place < 0 ? slots.guess : buttons[Math.min(place, buttons.length - 1)]).focus();
    event.preventDefault();
  });
  /** @type {(event: PageEvent<KeyboardEvent>) => void} */
  const onKey = (event) => {
    if (!root.isConnected) return document.removeEventListener("keydown", onKey);
    const isTyping = event.target.closest("input, textarea, select, [contenteditable], [role='listbox']");
    if (!stepToGuess() || game.vote || isTyping || isComposing(event) || event.ctrlKey || event.altKey || event.metaKey || !/^[1-9]$/.test(event.key)) return;
    event.preventDefault();
    chooseOption(Number(event.key) - 1);
  };
  document.addEventListener("keydown", onKey);

  // ---- a class that votes with its phones (app/class_vote.js) instead of raising its hands

  // The step is shown, and no guess counts here: the class's answers are counted elsewhere.
  const revealWithoutGuess = () => recordGuess(null, null, {});

  /**
   * After a reload. `count` steps had been revealed; then the next step is asked, or the last revealed one is shown.
   * @param {number} count
   * @param {boolean} isAsked
   */
  function resume(count, isAsked) {
    const revealed = Math.min(count, state.whole.steps.length);
    game.guesses = Array.from({ length: revealed }, () => ({ rank: null, probability: 0, text: null, hands: {}, options: 0, isSkipped: true }));
    Object.assign(game, { revealed, visibleRun: null });
    update(state, { chosen: isAsked ? lastStep() : Math.max(0, revealed - 1) });
    panel.redraw();
  }

  /** @param {ClassVote | null} vote */
  function setVote(vote) {
    game.vote = vote;
    panel.schedule();
  }

  const forVote = { stepToGuess, start, stop, next, resume, setVote, reveal: revealWithoutGuess, isOver: () => lastStep() < game.revealed };
  return { ...forVote, visiblePart, lastStep, hideStep, draw, isOn: () => game.isOn, countGuesses: () => game.guesses.length, statusSentence: () => (game.isOn ? texts.translate("predict.state", { step: game.revealed }) : null) };
}
