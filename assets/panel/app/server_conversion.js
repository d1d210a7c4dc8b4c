// Converts a run to another form, and checks a file: the library's work, so the server is asked. The static site, which has no server,
// has a function of its own: assets/browser/opened_file.js.

import { Refused } from "../core/too_large.js";
import { sentenceOf } from "../core/server_messages.js";
import { texts } from "../core/texts.js";

/**
 * The address is relative, so that it holds behind any path.
 * @param {string} form
 * @param {BodyInit} body
 */
export async function convertOnServer(form, body) {
  // English is what the library writes by itself, and its HTML file speaks its reader's language.
  const language = texts.language() === "en" ? "" : `?language=${texts.language()}`;
  const answer = await fetch(new URL(`keep/${form}${language}`, document.baseURI), { method: "POST", body, headers: { accept: "application/json" } }).catch(() => {
    throw new Refused(texts.translate("keep.unreachable"));
  });
  if (answer.ok) return answer;
  if (![413, 422].includes(answer.status)) throw new Refused(texts.translate("keep.failed"));
  const isMessage = answer.headers.get("content-type")?.startsWith("application/json");
  throw new Refused(sentenceOf(isMessage ? await answer.json() : await answer.text()));
}
