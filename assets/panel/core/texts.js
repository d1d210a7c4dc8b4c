// The words on the page, in every language that has a file under assets/texts/, and which of them is spoken. The element that shows a
// text names it (`data-text`, and `data-text-title` or the like for an attribute); `fill` writes it there, and again when the
// language changes. A text names another, as a tab's, with "{@tabs.table}", so that it is called here as it is called there.

import { TEXTS } from "./constants.js";
import { upright } from "./visible.js";

export const texts = (() => {
  const FALLBACK = "en";
  const LANGUAGE = "greedyscope.language";
  const ATTRIBUTES = { textLabel: "aria-label", textTitle: "title", textPlaceholder: "placeholder" };
  const hearers = new Set();
  let language = FALLBACK;
  let chosen = ""; // by a person, with the switch or in a link; "" where the browser's language is followed

  // The text of a key. One that counts something has a form for each kind of number, as "steps.one" and "steps.other".
  function say(key, values = {}) {
    return template(key, values.count).replace(/\{(\w+)\}/g, (place, name) => upright(String(values[name] ?? place)));
  }

  function template(key, count) {
    const text = formOf(TEXTS[language], key, count) ?? formOf(TEXTS[FALLBACK], key, count) ?? key;
    return text.replace(/\{@([\w.-]+)\}/g, (_, other) => template(other));
  }

  // The same in an element. What is the model's own in it is not for a browser to translate.
  function write(node, key, values = {}) {
    if (node.textContent === say(key, values)) return; // said anew only where it is another
    const parts = template(key, values.count).split(/\{(\w+)\}/);
    node.replaceChildren(...parts.map((part, n) => (n % 2 ? own(upright(String(values[part] ?? `{${part}}`))) : part)));
  }

  function own(text) {
    const node = document.createElement("span");
    node.translate = false;
    node.textContent = text;
    return node;
  }

  function formOf(words, key, count) {
    const stem = key.replace(/\.(one|other)$/, "");
    return words[key] ?? words[`${stem}.${new Intl.PluralRules(language).select(count ?? 2)}`] ?? words[`${stem}.other`];
  }

  function knows(key) {
    return formOf(TEXTS[FALLBACK], key) !== undefined;
  }

  function fill(root) {
    for (const node of root.querySelectorAll("[data-text]")) fillText(node);
    for (const [name, attribute] of Object.entries(ATTRIBUTES)) {
      const selector = `[data-${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}]`;
      for (const node of root.querySelectorAll(selector)) node.setAttribute(attribute, say(node.dataset[name]));
    }
  }

  // An element inside a text keeps its place in the sentence: <p data-text="key"><b data-slot="name"></b></p> with "… {name} …".
  function fillText(node) {
    if (!knows(node.dataset.text)) return; // an exported file leaves out what it does not show
    const slots = new Map([...node.querySelectorAll(":scope > [data-slot]")].map((slot) => [slot.dataset.slot, slot]));
    if (slots.size === 0) {
      node.textContent = say(node.dataset.text);
      return;
    }
    node.replaceChildren(...template(node.dataset.text).split(/\{(\w+)\}/).map((part, n) => (n % 2 && slots.get(part)) || part));
  }

  // Of the languages there are, the first that the reader wants; "ko-KR" is content with "ko".
  function known(wanted) {
    const there = Object.keys(TEXTS);
    const found = wanted.map((name) => there.find((each) => [name, name.split("-")[0]].includes(each)));
    return found.find(Boolean) ?? "";
  }

  // As it was chosen here; in an exported file, as it was written; as the browser is set.
  function preferred() {
    const wanted = [remembered(LANGUAGE), document.documentElement.dataset.language, ...(navigator.languages ?? [])];
    return known(wanted.filter(Boolean)) || FALLBACK;
  }

  // A page in a closed frame may not remember anything.
  function remembered(name) {
    try {
      return localStorage.getItem(name);
    } catch {
      return null;
    }
  }

  function remember(name, value) {
    try {
      localStorage.setItem(name, value);
    } catch {
      // then it holds for this visit
    }
  }

  function speak(wanted) {
    language = known([wanted]) || FALLBACK;
    document.documentElement.lang = language;
    hearers.forEach((hear) => hear(language));
  }

  // A language that a person chose: with the switch it is remembered, in a link it holds for this visit.
  function choose(wanted, { lasting = false } = {}) {
    if (!known([wanted])) return;
    chosen = known([wanted]);
    if (lasting) remember(LANGUAGE, chosen);
    speak(chosen);
  }

  return {
    say, write, fill, speak, choose, preferred, remembered, remember,
    languages: () => Object.keys(TEXTS).map((code) => [code, TEXTS[code]["language.name"]]),
    language: () => language,
    chosen: () => chosen || known([remembered(LANGUAGE)].filter(Boolean)),
    onChange: (hear) => hearers.add(hear),
  };
})();
