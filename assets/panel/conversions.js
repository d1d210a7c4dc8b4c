// A run in another form, and the check of a file: the library's work, asked of the server. The static site, which has no server, has
// an `asked` of its own: see assets/browser/opened_file.js.

// The address is relative, so that it holds behind any path.
async function asked(form, body) {
  // English is what the library writes by itself, and its HTML file speaks its reader's language.
  const language = texts.language() === "en" ? "" : `?language=${texts.language()}`;
  const answer = await fetch(new URL(`keep/${form}${language}`, document.baseURI), { method: "POST", body }).catch(() => {
    throw new Refused(texts.say("keep.unreachable"));
  });
  if (answer.ok) return answer;
  throw new Refused([413, 422].includes(answer.status) ? reword(await answer.text()) : texts.say("keep.failed"));
}
