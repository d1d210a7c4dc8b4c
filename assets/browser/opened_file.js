// A file opened as a run, where there is no server to judge it: the static site's own `asked` (see assets/panel/conversions.js). JSON Lines
// is the one form that the site has.

async function asked(form, body) {
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(body);
  } catch {
    throw new Refused(texts.say("keep.unreadable"));
  }
  const { findLoops } = await import("./engine/repetition.js");
  checkRun(text, findLoops);
  return new Response(text);
}
