// The language switch, and everything that is rewritten when the language changes.

import { sentenceOf } from "../core/server_messages.js";
import { texts } from "../core/texts.js";
import { make } from "../view/elements.js";
import { translateMessage } from "../view/messages.js";

/** @import { Trigger } from "../core/state.js" */
/** @import { Parts } from "../view/panel_elements.js" */

/**
 * The switch has a button for each language that there is a file for, and stands wherever the page has a place for it.
 * @param {Parts} parts
 * @param {() => void} redraw
 * @param {Trigger} trigger
 */
export function listenToLanguage(parts, redraw, trigger) {
  const { root } = parts;
  const isPage = Boolean(root.closest(".gradio-container"));
  Object.assign(root, { texts, sentenceOf }); // for the page around the panel: decoding/page/localize.py, model_picker.py
  drawSwitches(root);
  texts.onChange((language) => {
    if (!root.isConnected) return;
    texts.fillTexts(document);
    for (const slot of document.querySelectorAll("[data-sentence]")) translateMessage(slot);
    for (const button of document.querySelectorAll("[data-language]")) {
      button.setAttribute("aria-pressed", button.dataset.language === language);
    }
    if (isPage) document.title = texts.translate("page.title");
    trigger("language", {});
    redraw();
  });
  texts.setLanguage(texts.preferredLanguage());
}

/**
 * Gradio draws the page part by part, so that the place for the switch may come after the panel.
 * @param {HTMLElement} root
 */
function drawSwitches(root) {
  const places = document.querySelectorAll("[data-languages]");
  for (const place of places) place.replaceChildren(...texts.languages().map(([code, name]) => languageButton(code, name)));
  if (places.length === 0 && root.isConnected) setTimeout(drawSwitches, 50, root);
}

/**
 * @param {string} code
 * @param {string} name
 */
function languageButton(code, name) {
  const button = make("button", "language", name);
  button.type = "button";
  button.lang = button.dataset.language = code;
  button.setAttribute("aria-pressed", String(code === texts.language()));
  button.addEventListener("click", () => texts.chooseLanguage(code, { lasting: true }));
  return button;
}
