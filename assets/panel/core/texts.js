// The page's texts in every language that has a file under assets/texts/, and the current language. The element that shows a text names
// it (`data-text`, and `data-text-title` or the like for an attribute); `fillTexts` writes it there, and again when the
// language changes. A text names another, as a tab's, with "{@tabs.table}", so that both always have the same name.

import { TEXTS } from "./constants.js";
import { isolate } from "./visible.js";

/** @typedef {Record<string, string | number>} Values what stands in a text's places; `count` chooses its form */

const CODE = /(\u0060[^\u0060]{1,40}\u0060|--[a-z][a-z-]*(?:[ =][\w.:]*\d[\w.:]*)?)/; // between backticks, or an option

/**
 * A sentence in which what one types, as `--host 0.0.0.0`, is code, and is never broken across lines.
 * @param {string} sentence
 * @returns {(string | Element)[]}
 */
export function withCode(sentence) {
  return sentence.split(CODE).map((part, n) => {
    if (n % 2 === 0) return part;
    const node = document.createElement("code");
    node.translate = false;
    node.textContent = part;
    return node;
  });
}

export const texts = (() => {
  const FALLBACK = "en";
  const LANGUAGE = "greedyscope.language";
  const ATTRIBUTES = { textLabel: "aria-label", textTitle: "title", textPlaceholder: "placeholder" };
  /** @type {Set<(language: string) => void>} */
  const listeners = new Set();
  let language = FALLBACK;
  let chosen = ""; // by a person, with the switch or in a link; "" where the browser's language is followed

  /**
   * The text of a key. One that counts something has a form for each kind of number, as "steps.one" and "steps.other".
   * @param {string} key
   * @param {Values} [values]
   * @returns {string}
   */
  function translate(key, values = {}) {
    const shown = groupedCount(values);
    return template(key, values.count).replace(/\{(\w+)\}/g, (place, name) => isolate(String(shown[name] ?? place)));
  }

  /**
   * "8,192", as the server writes it.
   * @param {Values} values
   * @returns {Values}
   */
  function groupedCount(values) {
    return typeof values.count === "number" ? { ...values, count: values.count.toLocaleString("en") } : values;
  }

  /**
   * @param {string} key
   * @param {unknown} [count]
   * @returns {string}
   */
  function template(key, count) {
    const text = formOf(TEXTS[language], key, count) ?? formOf(TEXTS[FALLBACK], key, count) ?? key;
    return text.replace(/\{@([\w.-]+)\}/g, (_, other) => template(other));
  }

  /**
   * The same in an element. What is the model's own in it is not for a browser to translate.
   * @param {Element} node
   * @param {string} key
   * @param {Values} [values]
   */
  function write(node, key, values = {}) {
    if (node.textContent === translate(key, values)) return; // a screen reader announces what is written again
    const shown = groupedCount(values);
    const parts = template(key, values.count).split(/\{(\w+)\}/);
    node.replaceChildren(...parts.map((part, n) => (n % 2 ? untranslatedSpan(isolate(String(shown[part] ?? `{${part}}`))) : part)));
  }

  /** @param {string} text */
  function untranslatedSpan(text) {
    const node = document.createElement("span");
    node.translate = false;
    node.textContent = text;
    return node;
  }

  /**
   * @param {Record<string, string>} words
   * @param {string} key
   * @param {unknown} [count]
   * @returns {string | undefined}
   */
  function formOf(words, key, count) {
    const stem = key.replace(/\.(one|other)$/, "");
    return words[key] ?? words[`${stem}.${new Intl.PluralRules(language).select(Number(count ?? 2))}`] ?? words[`${stem}.other`];
  }

  /** @param {string} key */
  function hasText(key) {
    return formOf(TEXTS[FALLBACK], key) !== undefined;
  }

  /**
   * @param {ParentNode} root
   * @param {string} selector
   * @returns {HTMLElement[]}
   */
  function elements(root, selector) {
    return [...root.querySelectorAll(selector)].filter((node) => node instanceof HTMLElement);
  }

  /** @param {ParentNode} root */
  function fillTexts(root) {
    for (const node of elements(root, "[data-text]")) fillText(node);
    for (const [name, attribute] of Object.entries(ATTRIBUTES)) {
      const selector = `[data-${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}]`;
      for (const node of elements(root, selector)) node.setAttribute(attribute, translate(node.dataset[name] ?? ""));
    }
  }

  /**
   * An element inside a text keeps its place in the sentence: <p data-text="key"><b data-slot="name"></b></p> with "… {name} …".
   * @param {HTMLElement} node
   */
  function fillText(node) {
    const key = node.dataset.text ?? "";
    if (!hasText(key)) return; // an exported file leaves out what it does not show
    const slots = new Map(elements(node, ":scope > [data-slot]").map((slot) => [slot.dataset.slot, slot]));
    if (slots.size === 0) {
      node.replaceChildren(...withCode(translate(key)));
      return;
    }
    node.replaceChildren(...template(key).split(/\{(\w+)\}/).map((part, n) => (n % 2 && slots.get(part)) || part));
  }

  /**
   * Of the languages there are, the first that the reader wants; "ko-KR" is content with "ko".
   * @param {readonly string[]} wanted
   */
  function firstKnown(wanted) {
    const there = Object.keys(TEXTS);
    const found = wanted.map((name) => there.find((each) => [name, name.split("-")[0]].includes(each)));
    return found.find(Boolean) ?? "";
  }

  // As it was chosen here; in an exported file, as it was written; as the browser is set.
  function preferredLanguage() {
    const wanted = [remembered(LANGUAGE), document.documentElement.dataset.language, ...(navigator.languages ?? [])];
    return firstKnown(wanted.filter((name) => typeof name === "string")) || FALLBACK;
  }

  /**
   * A page in a closed frame may not remember anything.
   * @param {string} name
   */
  function remembered(name) {
    try {
      return localStorage.getItem(name);
    } catch {
      return null;
    }
  }

  /**
   * @param {string} name
   * @param {string} value
   */
  function remember(name, value) {
    try {
      localStorage.setItem(name, value);
    } catch {
      // then it holds for this visit
    }
  }

  /** @param {string} wanted */
  function setLanguage(wanted) {
    language = firstKnown([wanted]) || FALLBACK;
    document.documentElement.lang = language;
    for (const listener of listeners) listener(language);
  }

  /**
   * A language that a person chose: with the switch it is remembered, in a link it holds for this visit.
   * @param {string} wanted
   * @param {{ lasting?: boolean }} [options]
   */
  function chooseLanguage(wanted, { lasting = false } = {}) {
    if (!firstKnown([wanted])) return;
    chosen = firstKnown([wanted]);
    if (lasting) remember(LANGUAGE, chosen);
    setLanguage(chosen);
  }

  return {
    translate, hasText, write, fillTexts, setLanguage, chooseLanguage, preferredLanguage, remembered, remember,
    languages: () => Object.keys(TEXTS).map((code) => [code, TEXTS[code]["language.name"]]),
    language: () => language,
    chosenLanguage: () => chosen || firstKnown([remembered(LANGUAGE) ?? ""]),
    /** @param {(language: string) => void} listener */
    onChange: (listener) => { listeners.add(listener); },
  };
})();
