// What a step loses without a part of the text: the text before it, coloured by the change, and the same as a table. Knows a run's
// records, and not how they were asked for.

import { percent } from "../core/numbers.js";
import { texts } from "../core/texts.js";
import { joinedLabel, labelOf } from "../core/tokens.js";
import { isolate } from "../core/visible.js";
import { changeOf, isFinished, leadOf, probabilityOf, progressOf, strongestPart, tokensBefore } from "../core/why.js";
import { headCell, label, make, setText } from "../view/elements.js";
import { bringPartIntoSight, showParts } from "./why_parts.js";

/** @import { Run } from "../core/run.js" */
/** @import { Token } from "../core/tokens.js" */
/** @import { LeaveOneOut, LeftOut } from "../core/why.js" */

const SHOWN_BEFORE = 4; // tokens in front of the first that was left out

/** @param {number} change */
function signedNumber(change) {
  if (!Number.isFinite(change)) return Number.isNaN(change) ? texts.translate("number.none") : change < 0 ? "−∞" : "+∞";
  return `${change < 0 ? "−" : "+"}${Math.abs(change).toFixed(Math.abs(change) < 10 ? 2 : 1)}`;
}

/**
 * How many times more or less probable.
 * @param {number} change in nats
 */
function factor(change) {
  const times = Math.exp(Math.abs(change));
  if (!(times > 1)) return "× 1";
  return `${change < 0 ? "÷" : "×"} ${times < 100 ? times.toPrecision(3) : Number.isFinite(times) ? Math.round(times).toLocaleString("en") : "∞"}`;
}

/**
 * @param {Token[]} tokens
 * @param {LeftOut} part
 */
function partLabel(tokens, part) {
  return isolate(joinedLabel(tokens.slice(part.first, part.first + part.count)));
}

/**
 * @param {Token[]} tokens
 * @param {LeaveOneOut} found
 * @param {LeftOut} part
 */
function withoutSentence(tokens, found, part) {
  const { picked, against } = found;
  const same = picked.rank === 0 ? "why.without.same" : "why.without.now"; // argmax had picked another token
  const other = part.instead.token_id === picked.token_id ? texts.translate(same, { token: labelOf(picked) }) : texts.translate("why.without.else", { token: labelOf(part.instead), probability: percent(part.instead.probability) });
  if (!against) {
    const values = { part: partLabel(tokens, part), before: percent(picked.probability), after: percent(probabilityOf(part.logprob)), factor: factor(changeOf(found, part)) };
    return `${texts.translate("why.without.of", values)} ${other}`;
  }
  const before = leadOf(found);
  const values = { part: partLabel(tokens, part), token: labelOf(picked), other: labelOf(against), before: signedNumber(before), after: signedNumber(before + changeOf(found, part)) };
  return `${texts.translate("why.without.versus", values)} ${other}`;
}

/**
 * @param {Showing<LeaveOneOut>} box
 * @param {Run} run
 * @param {number} step
 * @param {LeaveOneOut | null} found
 * @param {boolean} isOpen a question about the step
 * @param {string} reason why nothing was found, as the key of a sentence
 */
export function drawWithout(box, run, step, found, isOpen, reason) {
  const [sentence, text, lead, more] = ["status", "text", "lead", "more"].map((name) => box.querySelector(`.gs-without-${name}`));
  for (const part of [text, lead, more]) part.hidden = !found;
  const tokens = tokensBefore(run, step);
  const first = found && strongestPart(found);
  // What changes most stands in words once all of it is known: a screen reader announces it.
  if (isOpen && !(found && isFinished(run, found))) setText(sentence, "");
  else if (found && first) setText(sentence, withoutSentence(tokens, found, first));
  else texts.write(sentence, reason);
  if (box.drawn === found && box.language === texts.language()) return;
  Object.assign(box, { drawn: found, language: texts.language() });
  if (!found) return;
  const largest = Math.max(1e-9, ...found.parts.map((part) => Math.abs(changeOf(found, part))).filter(Number.isFinite));
  const begin = Math.max(0, (found.parts[0]?.first ?? tokens.length) - SHOWN_BEFORE);
  const ends = found.parts.map(({ first, count }) => first + count);
  const shown = [];
  if (begin) shown.push(make("span", "gs-aside gs-without-before", texts.translate("why.without.before", { count: begin })));
  for (let at = begin; at < tokens.length; at++) {
    const part = found.parts.find(({ first }) => first === at);
    if (part) shown.push(partChip(tokens, found, part, largest));
    else if (!found.parts.some(({ first }, n) => first < at && at < ends[n])) shown.push(label(tokens[at], "gs-without-kept"));
  }
  const place = first ? found.parts.indexOf(first) : -1;
  showParts(text, box.querySelector(".gs-without-point"), shown, place);
  if (found.against) texts.write(lead, "why.without.lead.against", { token: labelOf(found.picked), other: labelOf(found.against) });
  else texts.write(lead, "why.without.lead");
  more.querySelector("tbody").replaceChildren(...found.parts.map((part) => partRow(tokens, found, part)));
  bringPartIntoSight(text, isFinished(run, found) ? place : -1); // before, a reader may have scrolled
}

/**
 * How far the answer has come, and what it was asked with; and what can be asked now.
 * @param {Element} box
 * @param {Run} run
 * @param {LeaveOneOut | null} found
 * @param {{ isOpen: boolean, growing: LeaveOneOut | null, next: string }} question `growing`: what has come of it, where it is still open
 */
export function drawAsked(box, run, found, { isOpen, growing, next }) {
  const line = box.querySelector(".gs-without-asked");
  line.hidden = !found;
  if (!found) return;
  const [progress, stopped, asked, again] = line.children;
  const { tried: number, asked: most } = progressOf(run, growing ?? found);
  setText(progress, growing ? texts.translate("why.without.growing", { number, most }) : "");
  setText(stopped, isOpen || isFinished(run, found) ? "" : texts.translate("why.without.stopped", { number, most }));
  const against = found.against ? labelOf(found.against) : texts.translate("why.against.none");
  texts.write(asked, "why.without.asked", { by: texts.translate(`why.by.${found.by}`), against });
  setText(again, next && texts.translate(next));
}

/**
 * @param {Token[]} tokens
 * @param {LeaveOneOut} found
 * @param {LeftOut} part
 * @param {number} largest
 */
function partChip(tokens, found, part, largest) {
  const change = changeOf(found, part);
  const chip = make("button", `gs-chip gs-part-of-text ${change < 0 ? "gs-for" : "gs-against"}`);
  chip.type = "button";
  chip.tabIndex = -1; // one of them is a stop of the Tab key: why_parts.js
  chip.style.setProperty("--shade", String(Math.min(1, Math.abs(change) / largest) || 0));
  chip.append(make("span", "gs-chip-text", partLabel(tokens, part)), make("span", "gs-change", found.against ? signedNumber(change) : percent(probabilityOf(part.logprob))));
  chip.title = withoutSentence(tokens, found, part);
  chip.setAttribute("aria-label", chip.title);
  return chip;
}

/**
 * @param {Token[]} tokens
 * @param {LeaveOneOut} found
 * @param {LeftOut} part
 */
function partRow(tokens, found, part) {
  const row = make("tr", "");
  const { instead } = part;
  const after = probabilityOf(part.logprob);
  const cells = [percent(after), signedNumber(found.against ? changeOf(found, part) : 100 * (after - found.picked.probability)), `${isolate(labelOf(instead))} (${percent(instead.probability)})`];
  row.append(headCell(partLabel(tokens, part), "row"), ...cells.map((text) => make("td", "", text)));
  return row;
}
