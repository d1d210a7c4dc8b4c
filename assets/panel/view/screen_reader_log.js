// The log for screen readers: each token of a run that is being written is announced once, as text. A screen reader speaks only what is
// added to it.

import { labelOf } from "../core/tokens.js";
import { make } from "./elements.js";

/** @import { Run } from "../core/run.js" */
/** @import { Parts } from "./panel_elements.js" */

const LOGGED_TOKENS = 24; // tokens that stay in the log; of more that come at once, the last

/**
 * `whole` is the run that the tokens belong to, and `run` as much of it as may be seen.
 * @param {Parts} parts
 * @param {Run} whole
 * @param {Run} run
 */
export function logTokens(parts, whole, run) {
  if (whole.header.note || whole.loggedTokens === undefined) return; // a run of the past is looked at, not written
  if (parts.log.run !== whole) parts.log.replaceChildren();
  parts.log.run = whole;
  for (let index = Math.max(whole.loggedTokens, run.steps.length - LOGGED_TOKENS); index < run.steps.length; index++) {
    const text = whole.pieces[index].trim();
    parts.log.append(make("span", "", text === "" ? labelOf(run.steps[index].picked) : text), " ");
  }
  whole.loggedTokens = Math.max(whole.loggedTokens, run.steps.length);
  while (parts.log.childElementCount > LOGGED_TOKENS) {
    parts.log.firstElementChild.nextSibling.remove(); // the space
    parts.log.firstElementChild.remove();
  }
}
