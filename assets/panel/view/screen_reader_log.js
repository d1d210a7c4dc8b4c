// What a screen reader hears of a run that is written: each new token once, as text, whatever is drawn again. Its place is a log, in
// which only what is added is spoken.

import { labelOf } from "../core/tokens.js";
import { make } from "./elements.js";

const HEARD = 24; // tokens that stay in the log; what leaves it is not spoken again

// `whole` is the run that the tokens belong to, and `run` as much of it as may be seen.
export function hear(parts, whole, run) {
  if (whole.header.note || whole.heard === undefined) return; // a run of the past is looked at, not written
  if (parts.heard.of !== whole) parts.heard.replaceChildren();
  parts.heard.of = whole;
  for (let index = whole.heard; index < run.steps.length; index++) {
    const text = whole.pieces[index].trim();
    parts.heard.append(make("span", "", text === "" ? labelOf(run.steps[index].picked) : text), " ");
  }
  whole.heard = Math.max(whole.heard, run.steps.length);
  while (parts.heard.childElementCount > HEARD) parts.heard.firstElementChild.remove();
}
