// The server's sentences in the language that is read. Errors and notices come in the library's English, whether they stand beside
// a field, in a run that was kept or in a file's refusal; here each is found again by its text under "server.", in which a name
// stands for what changes. One that no text fits stays as it came.

import { LIMITS, TEXTS } from "./constants.js";
import { texts } from "./texts.js";
import { upright } from "./visible.js";

let serverTexts = null; // made when first needed: an exported file unpacks its texts

const MOST_NESTED = 4; // a sentence within a sentence within …: a stranger's file could go on for ever

function patternsOf(words) {
  const known = Object.entries(words).filter(([key]) => key.startsWith("server.")).map(([key, text]) => {
    const parts = text.split(/\{(\w+)\}/);
    const even = (n) => n % 2 === 0;
    return { key, names: parts.filter((_, n) => !even(n)), fixed: parts.filter((_, n) => even(n)), letters: text.length };
  });
  return known.sort((a, b) => b.letters - a.letters); // what says more is tried first
}

// What stands in a sentence between the fixed parts of a text, each as short as can be; null where the sentence is another. A
// pattern of as many wildcards would take a stranger's sentence's length to their power.
function between(fixed, sentence) {
  const [first, last] = [fixed[0], fixed.at(-1)];
  if (fixed.length === 1) return sentence === first ? [] : null;
  const end = sentence.length - last.length;
  if (end < first.length || !sentence.startsWith(first) || !sentence.endsWith(last)) return null;
  const found = [];
  let at = first.length;
  for (const part of fixed.slice(1, -1)) {
    const next = sentence.indexOf(part, at);
    if (next < 0 || next + part.length > end) return null;
    found.push(sentence.slice(at, next));
    at = next + part.length;
  }
  return [...found, sentence.slice(at, end)];
}

export function reword(sentence, depth = 0) {
  return upright(translated(sentence, depth));
}

function translated(sentence, depth) {
  if (texts.language() === "en" || sentence === "" || sentence.length > LIMITS.noteCharacters || depth > MOST_NESTED) return sentence;
  serverTexts ??= patternsOf(TEXTS.en);
  for (const { key, names, fixed } of serverTexts) {
    const found = between(fixed, sentence);
    if (found) return texts.say(key, Object.fromEntries(names.map((name, n) => [name, reword(found[n], depth + 1)])));
  }
  const pieces = sentence.split(" · "); // facts in a row
  return pieces.length > 1 ? pieces.map((piece) => reword(piece, depth + 1)).join(" · ") : sentence;
}
