// Copies a text, or offers it to be copied by hand.

import { texts } from "../core/texts.js";
import { make } from "./elements.js";

/**
 * A page that is not served over https, or in a frame, may not use the clipboard, but may copy what is selected. Where it may not do
 * that either, the text is shown selected, for the reader to copy.
 * @param {string | Promise<string>} textOrPromise
 * @param {HTMLElement} button
 */
export async function copyText(textOrPromise, button) {
  const promise = Promise.resolve(textOrPromise);
  const written = await writeToClipboard(promise).then(() => true, () => false);
  const text = await promise;
  if (!written && !copySelected(text, button)) return offerForCopying(text, button);
  button.textContent = texts.translate("copy.done");
  setTimeout(() => { button.textContent = texts.translate(button.dataset.text ?? ""); }, 2000);
}

/**
 * WebKit permits it only within the click, when the text may not be there yet: it is given the promise.
 * @param {Promise<string>} promise
 */
async function writeToClipboard(promise) {
  if (!window.ClipboardItem) return navigator.clipboard.writeText(await promise);
  const blob = promise.then((text) => new Blob([text], { type: "text/plain" }));
  return navigator.clipboard.write([new ClipboardItem({ "text/plain": blob })]);
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
