// Predict, then reveal. The panel sees the run only up to the step to be guessed, so the answer appears nowhere: not in the text, the bars,
// the timeline or the table, and not for a screen reader. A guess, or the class's raised hands, reveals the step.

import { optionTyped, scoreOf, shuffled } from "../core/guesses.js";
import { percent } from "../core/numbers.js";
import { optionsOf } from "../core/softmax.js";
import { update } from "../core/state.js";
import { texts } from "../core/texts.js";
import { labelOf } from "../core/tokens.js";
import { visible } from "../core/visible.js";
import { headCell, label, make } from "../view/elements.js";
import { isComposing } from "./keyboard.js";

/** @import { Panel, State } from "../core/state.js" */
/** @import { Parts } from "../view/parts.js" */

/**
 * @param {Parts} parts
 * @param {State} state
 * @param {Panel} panel
 */
export function startPredicting(parts, state, panel) {
  const { root } = parts;
  const one = (selector) => root.querySelector(selector);
  const box = one(".gs-predict");
  const slots = { question: one(".gs-question"), form: one(".gs-question form"), guess: one(".gs-guess"), options: one(".gs-options"), hands: one(".gs-hands"), reveal: one('[data-predict="reveal"]'), next: one('[data-predict="next"]'), outcome: one(".gs-outcome"), tally: one(".gs-tally") };
  /** @type {any} */
  const game = { on: false, vote: null, run: null, part: null, revealed: 0, guesses: [], votes: [], listed: "" };

  // ---- the run, as far as it may be seen

  function seen(run) {
    if (!game.on) return run;
    if (game.run !== run) clear(run);
    if (game.part?.steps.length !== game.revealed) {
      game.part = { ...run, steps: run.steps.slice(0, game.revealed), pieces: run.pieces.slice(0, game.revealed), end: null };
    }
    return game.part;
  }

  // Whatever a round leaves behind: guesses, hands, their marks and sums. The next one, or the run itself, begins without.
  function clear(run) {
    Object.assign(game, { run, part: null, revealed: 0, guesses: [], votes: [], listed: "" });
    slots.guess.value = "";
    slots.outcome.textContent = "";
    delete slots.outcome.dataset.said;
    slots.tally.hidden = true;
    for (const mark of parts.bars.querySelectorAll(".gs-mine")) mark.remove();
  }

  // The last step that can be looked at: the one to be guessed, where there is another.
  function last() {
    const { length } = seen(state.whole).steps;
    return game.on && (length < state.whole.steps.length || !state.whole.end) ? length : length - 1;
  }

  /** @returns {any} */
  const asked = () => (game.on && state.chosen === game.revealed ? state.whole.steps[game.revealed] : undefined);

  // ---- guessing

  function start() {
    game.on = true;
    clear(state.whole);
    seen(state.whole); // at once: the next drawing would take back the guess of a reader who is faster
    update(state, { chosen: 0, follow: false });
    panel.play(false);
    // Remove what is drawn already: until the next drawing the answer could be read, or announced again.
    for (const drawn of [parts.log, parts.tableSteps, parts.text]) drawn.replaceChildren();
    panel.drawAnew();
    if (game.vote) return;
    focus(slots.guess);
    // The whole question is in sight, also what stands at its end.
    requestAnimationFrame(() => requestAnimationFrame(() => box.scrollIntoView({ block: "nearest" })));
  }

  function stop() {
    game.on = false;
    slots.hands.checked = false;
    clear(null);
    panel.drawAnew();
    root.focus({ preventScroll: true });
  }

  // `option` is null for a token that the run did not keep; only bounds are known for it.
  function settle(option, said, hands = /** @type {object | null} */ (null)) {
    const step = asked();
    if (!step) return;
    const options = optionsOf(step);
    const rest = Math.max(0, 1 - options.reduce((sum, each) => sum + each.probability, 0));
    const most = Math.min(rest, step.candidates[step.candidates.length - 1].probability);
    const guess = option ? { rank: option.rank, probability: option.probability } : { rank: null, probability: most };
    game.guesses[game.revealed] = { ...guess, said, hands, options: options.length, isSkipped: said === null };
    game.revealed += 1;
    slots.guess.value = "";
    panel.schedule();
    slots.next.disabled = last() < game.revealed;
    if (!game.vote) focus(slots.next.disabled ? one('[data-predict="stop"]') : slots.next);
  }

  function guessTyped() {
    const typed = slots.guess.value.trim();
    if (!typed) return announce("predict.empty");
    const option = optionTyped(optionsOf(asked()), slots.guess.value);
    settle(option, option ? labelOf(option) : visible(typed));
  }

  // One candidate is the guess, or has one more hand raised for it.
  function take(place) {
    const option = shuffled(asked())[place];
    if (!option) return;
    if (!slots.hands.checked) return settle(option, labelOf(option));
    game.votes[place] = Math.min(999, (game.votes[place] ?? 0) + 1);
    slots.options.querySelectorAll("input")[place].value = game.votes[place];
  }

  // The class's guess is the candidate with the most hands. Without a raised hand, the step is shown and no guess counts.
  function reveal() {
    const options = shuffled(asked());
    const votes = options.map((_, place) => game.votes[place] ?? 0);
    const most = Math.max(...votes);
    const option = most > 0 ? options[votes.indexOf(most)] : null;
    const hands = Object.fromEntries(options.map(({ rank }, place) => [rank, votes[place]]));
    settle(option, option ? labelOf(option) : null, hands);
  }

  function next() {
    game.votes = [];
    panel.choose(game.revealed);
    if (asked()) drawOptions(asked());
    if (!game.vote) focus(slots.hands.checked ? slots.options.querySelector("button") : slots.guess);
  }

  // At once, not with the next drawing: a fast typist would lose the first letters.
  function focus(part) {
    for (let node = part; node !== root; node = node.parentElement) node.hidden = false;
    part.focus();
  }

  // ---- drawing

  function draw() {
    root.classList.toggle("gs-predicting", game.on);
    box.hidden = !game.on;
    for (const tab of parts.tabs) tab.disabled = game.on && !["table", "lesson", "reading"].includes(tab.id.replace("gs-tab-", ""));
    parts.buttons.play.disabled = game.on;
    const step = asked();
    const isHidden = game.on && state.chosen === game.revealed;
    for (const part of [parts.chart, parts.numbers, one(".gs-temperature")]) part.hidden = isHidden;
    if (!game.on) return;
    slots.question.hidden = !step;
    if (isHidden) drawAsk(game.revealed + 1);
    if (step) drawOptions(step);
    slots.reveal.hidden = !slots.hands.checked;
    slots.next.hidden = isHidden;
    slots.next.disabled = last() < game.revealed;
    drawOutcome(step, isHidden);
    drawTally();
    game.vote?.draw(step, isHidden);
  }

  // The title and the slider, which would otherwise go on naming the step that was looked at before.
  function drawAsk(step) {
    parts.stepTitle.textContent = texts.translate("predict.ask", { step });
    for (const [name, value] of [["valuemax", step], ["valuenow", step], ["valuetext", parts.stepTitle.textContent]]) parts.strip.setAttribute(`aria-${name}`, value);
  }

  function drawOptions(step) {
    const drawn = [step.index, slots.hands.checked, texts.language()].join();
    if (game.listed === drawn && game.options === step) return; // a button that is replaced loses its focus
    Object.assign(game, { listed: drawn, options: step });
    slots.options.replaceChildren(...shuffled(step).map(optionItem));
  }

  function optionItem(option, place) {
    const item = make("li", "");
    const button = make("button", "gs-button");
    button.append(label(option));
    button.type = "button";
    button.dataset.guess = place;
    item.append(button);
    if (!slots.hands.checked) return item;
    const count = make("input", "");
    Object.assign(count, { type: "number", min: 0, max: 999, value: game.votes[place] ?? 0 });
    count.setAttribute("aria-label", texts.translate("predict.hands.for", { token: labelOf(option) }));
    count.addEventListener("input", () => { game.votes[place] = Math.min(999, Math.max(0, Math.trunc(Number(count.value)) || 0)); });
    item.append(count, make("span", "", "✋"));
    return item;
  }

  function drawOutcome(step, isHidden) {
    const guess = game.guesses[state.chosen];
    for (const mark of parts.bars.querySelectorAll(".gs-mine")) mark.remove();
    if (isHidden) {
      if (!step) announce("predict.waiting");
      else if (slots.outcome.dataset.said !== "predict.empty") announce("predict.open");
      return;
    }
    if (!guess) return;
    const shown = state.run.steps[state.chosen];
    texts.write(parts.stepTitle, "predict.step", { step: state.chosen + 1, token: labelOf(shown.picked) });
    markGuess(guess, shown);
    const ending = slots.next.disabled && state.chosen === game.revealed - 1 ? ` ${texts.translate("predict.over")}` : "";
    const { picked } = shown;
    const key = guess.isSkipped ? "predict.nobody" : guess.rank === null ? "predict.beyond" : guess.rank === picked.rank ? "predict.right" : "predict.wrong";
    announce(key, { guess: guess.said, rank: (guess.rank ?? guess.options) + 1, share: percent(guess.probability), token: labelOf(picked), picked: percent(picked.probability) }, ending);
  }

  function markGuess(guess, step) {
    const rows = [...parts.bars.querySelectorAll(".gs-bar-value")];
    for (const [place, row] of rows.entries()) {
      const rank = optionsOf(step)[place]?.rank ?? null;
      const hands = guess.hands?.[rank];
      if (hands) row.append(make("span", "gs-mine", ` ✋ ${hands}`));
      else if (!guess.hands && guess.rank === rank) row.append(make("span", "gs-mine", ` ◆ ${texts.translate("predict.yours")}`));
    }
  }

  function announce(key, values = {}, ending = "") {
    slots.outcome.dataset.said = key;
    const said = texts.translate(key, values) + ending;
    if (slots.outcome.textContent === said) return; // spoken once
    texts.write(slots.outcome, key, values);
    slots.outcome.append(ending);
  }

  function drawTally() {
    const guesses = game.guesses.filter((guess) => !guess.isSkipped);
    slots.tally.hidden = guesses.length === 0;
    if (slots.tally.hidden) return;
    const { top_k: k } = state.run.header;
    const steps = state.run.steps.filter(({ index }) => !game.guesses[index].isSkipped);
    const own = guesses.map(({ rank, probability, options }) => ({ rank: rank ?? options, probability, isBound: rank === null }));
    /** @type {[string, string[]][]} */
    const rows = [
      [texts.translate(guesses.some(({ hands }) => hands) ? "predict.class" : "predict.you"), scoreOf(own, k)],
      [texts.translate("predict.model"), scoreOf(steps.map(({ picked }) => picked), k)],
    ];
    slots.tally.caption.textContent = texts.translate("predict.score", { count: guesses.length });
    slots.tally.tHead.rows[0].replaceChildren(
      make("td", ""),
      ...[texts.translate("predict.score.rank"), texts.translate("predict.score.top", { choices: k }), texts.translate("predict.score.bits")].map((title) => headCell(title, "col")),
    );
    slots.tally.tBodies[0].replaceChildren(...rows.map(([name, score]) => {
      const row = make("tr", "");
      row.append(headCell(name, "row"), ...score.map((text) => make("td", "", text)));
      return row;
    }));
  }

  // ---- hands and keys

  root.addEventListener("click", (event) => {
    const { predict, guess } = event.target.closest("[data-predict], [data-guess]")?.dataset ?? {};
    if (predict) ({ start, stop, reveal, next })[predict]();
    if (guess !== undefined) take(Number(guess));
  });
  slots.form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (asked()) guessTyped();
  });
  slots.hands.addEventListener("change", panel.schedule);
  slots.question.addEventListener("keydown", (event) => {
    const along = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    const buttons = [...slots.options.querySelectorAll("button")];
    if (event.key === "Escape") buttons[0]?.focus(); // out of the field, where a digit is a guess
    if (!along || event.target.type === "number") return;
    const place = buttons.indexOf(document.activeElement) + along;
    (place < 0 ? slots.guess : buttons[Math.min(place, buttons.length - 1)]).focus();
    event.preventDefault();
  });
  const onKey = (event) => {
    if (!root.isConnected) return document.removeEventListener("keydown", onKey);
    const isTyping = event.target.closest("input, textarea, select, [contenteditable], [role='listbox']");
    if (!asked() || game.vote || isTyping || isComposing(event) || event.ctrlKey || event.altKey || event.metaKey || !/^[1-9]$/.test(event.key)) return;
    event.preventDefault();
    take(Number(event.key) - 1);
  };
  document.addEventListener("keydown", onKey);

  // ---- a class that votes with its phones (app/class_vote.js) instead of raising its hands

  // The step is shown, and no guess counts here: the class's answers are counted elsewhere.
  const skip = () => settle(null, null, {});

  // After a reload. `count` steps had been revealed; then the next step is asked, or the last revealed one is shown.
  function resume(count, isAsked) {
    const revealed = Math.min(count, state.whole.steps.length);
    game.guesses = Array.from({ length: revealed }, () => ({ isSkipped: true }));
    Object.assign(game, { revealed, part: null });
    update(state, { chosen: isAsked ? last() : Math.max(0, revealed - 1) });
    panel.drawAnew();
  }

  function useVote(vote) {
    game.vote = vote;
    panel.schedule();
  }

  const ofClass = { asked, start, stop, next, resume, useVote, reveal: skip, isOver: () => last() < game.revealed };
  return { ...ofClass, seen, last, draw, isOn: () => game.on, guesses: () => game.guesses.length, status: () => (game.on ? texts.translate("predict.state", { step: game.revealed }) : null) };
}
