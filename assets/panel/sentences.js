// The server's sentences in the language that is read. Errors and notices come in the library's English, whether they stand beside
// a field, in a run that was kept or in a file's refusal; here each is found again by its text under "server.", in which a name
// stands for what changes. One that no text fits stays as it came.

let serverTexts = null; // made when first needed: an exported file unpacks its texts

function patternsOf(words) {
  const known = Object.entries(words).filter(([key]) => key.startsWith("server.")).map(([key, text]) => {
    const parts = text.split(/\{(\w+)\}/);
    const pattern = parts.map((part, n) => (n % 2 ? "(.*?)" : part.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"))).join("");
    return { key, names: parts.filter((_, n) => n % 2), pattern: new RegExp(`^${pattern}$`, "s"), letters: text.length };
  });
  return known.sort((a, b) => b.letters - a.letters); // what says more is tried first
}

function reword(sentence) {
  return upright(translated(sentence));
}

function translated(sentence) {
  if (texts.language() === "en" || sentence === "") return sentence;
  serverTexts ??= patternsOf(TEXTS.en);
  for (const { key, names, pattern } of serverTexts) {
    const found = pattern.exec(sentence);
    if (found) return texts.say(key, Object.fromEntries(names.map((name, n) => [name, reword(found[n + 1])])));
  }
  const pieces = sentence.split(" · "); // facts in a row
  return pieces.length > 1 ? pieces.map(reword).join(" · ") : sentence;
}

// A sentence where it belongs, to be said again when the language changes.
function saySentence(slot, sentence) {
  slot.dataset.sentence = sentence;
  slot.textContent = reword(sentence);
}
