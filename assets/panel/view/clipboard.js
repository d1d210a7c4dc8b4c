// Copies a text, or offers it to be copied by hand.

import { texts } from "../core/texts.js";
import { make } from "./elements.js";

/**
 * A page that is not served over https, or in a frame, may not use the clipboard, but may copy what is selected. Where it may not do
 * that either, the text is shown selected, for the reader to copy.
 * @param {string} text
 * @param {HTMLElement} button
 */
export async function copyText(text, button) {
  const copied = await (navigator.clipboard?.writeText(text) ?? Promise.reject()).then(() => true, () => copySelected(text, button));
  if (!copied) return offerForCopying(text, button);
  button.textContent = texts.translate("copy.done");
  setTimeout(() => { button.textContent = texts.translate(button.dataset.text ?? ""); }, 2000);
}

/**
 * @param {string} text
 * @param {HTMLElement} button
 */
function offerForCopying(text, button) {
  document.querySelector(".gs-offered")?.remove();
  const box = make("p", "gs-offered");
  const field = Object.assign(make("textarea", ""), { value: text, readOnly: true, rows: 2 });
  const title = make("label", "", texts.translate("copy.by_hand"));
  title.append(field);
  box.append(title);
  button.closest(".gs-head, section").after(box);
  field.addEventListener("keydown", (/** @type {KeyboardEvent} */ { key }) => {
    if (key !== "Escape") return;
    box.remove();
    button.focus();
  });
  field.focus();
  field.select();
}

/**
 * @param {string} text
 * @param {HTMLElement} button
 * @returns {boolean}
 */
function copySelected(text, button) {
  const field = document.createElement("textarea");
  field.value = text;
  button.after(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  button.focus();
  return copied;
}
