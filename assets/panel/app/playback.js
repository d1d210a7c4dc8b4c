// Plays a run: a step at a time to its last one, which a run that grows has not yet. Owns the player's timer and its button.

import { update } from "../core/state.js";
import { texts } from "../core/texts.js";

/** @import { Panel, State } from "../core/state.js" */
/** @import { Parts } from "../view/panel_elements.js" */

const PLAY_MILLISECONDS = 700;
const PLAY_ICON = "M7 4v16l13-8z";
const PAUSE_ICON = "M6 5h4v14H6zM14 5h4v14h-4z";

/**
 * @param {Parts} parts
 * @param {State} state
 * @param {{ choose: Panel["choose"], canPlay: () => boolean }} panel
 * @returns {Panel["play"]}
 */
export function makePlayer(parts, state, { choose, canPlay }) {
  const isAtLast = () => state.chosen >= state.run.steps.length - 1;

  /** @type {Panel["play"]} */
  function play(on) {
    if (!on && !state.player) return;
    clearInterval(state.player ?? undefined);
    update(state, { player: null });
    if (on && canPlay()) {
      if (isAtLast()) choose(0);
      const player = setInterval(() => (isAtLast() && state.run.end ? play(false) : choose(state.chosen + 1)), PLAY_MILLISECONDS);
      update(state, { player });
    }
    const { play: button } = parts.buttons;
    button.querySelector("path").setAttribute("d", on ? PAUSE_ICON : PLAY_ICON);
    Object.assign(button.dataset, { textTitle: on ? "player.pause.title" : "player.play.title", textLabel: on ? "player.pause" : "player.play" });
    texts.fillTexts(parts.root);
  }

  return play;
}
