// The server's messages on the page: beside a field, beside Run, or beside the proof that was asked for.

import { sentenceOf } from "../core/server_messages.js";
import { withCode } from "../core/texts.js";

/** @import { Trigger } from "../core/state.js" */
/** @import { Parts } from "./panel_elements.js" */

/**
 * A message where it belongs, to be said again when the language changes.
 * @param {HTMLElement} slot
 * @param {unknown} message
 */
export function showMessage(slot, message) {
  slot.dataset.sentence = JSON.stringify(message);
  slot.replaceChildren(...withCode(sentenceOf(message)));
}

/** @param {HTMLElement} slot */
export function translateMessage(slot) {
  if (slot.dataset.sentence) showMessage(slot, JSON.parse(slot.dataset.sentence));
}

/**
 * The page's messages, by where they belong: beside a field, beside Run, or beside the proof that was asked for; the most
 * choices there may be, where the model's own limit is lower than the page's: its label says so (decoding/page/localize.py); and
 * whether a load is waited for: when it has ended, the list of models is looked at again.
 * @param {Parts} parts
 * @param {string} words
 * @param {Trigger | null} trigger
 */
export function showMessages(parts, words, trigger) {
  const { most, loads, scores, why, number, ...messages } = JSON.parse(words || "{}");
  const { root } = parts;
  if (why || "no-lens" in messages) root.dispatchEvent(new CustomEvent("why", { detail: { line: why, number, refusal: messages["no-lens"] } }));
  if (trigger && root.loads && !loads) trigger("loaded", {});
  if (trigger) root.loads = loads;
  if (scores) root.dispatchEvent(new CustomEvent("scores", { detail: scores }));
  if (most && root.limits?.["page.choices"].most !== most) {
    root.limits = { "page.choices": { most } };
    trigger?.("language", {});
  }
  for (const [place, message] of Object.entries(messages)) {
    if (place === "draws" || place === "named") {
      root.dispatchEvent(new CustomEvent("answered", { detail: { place, answer: message } }));
      continue;
    }
    const slot = place === "proof" ? parts.questions.proof : document.querySelector(`#${place} p`);
    if (slot) showMessage(slot, message);
  }
  // Who asks may have scrolled away from the places at the top.
  const shown = [...document.querySelectorAll("#notice p, .problem p")].map((slot) => slot.textContent);
  parts.questions.word.textContent = shown.filter(Boolean).join(" ");
}
