// A file opened as a run, where there is no server to check it: the static site's own `convert` (the page's is
// assets/panel/app/server_conversion.js). JSON Lines is the one form that the site has.

import { checkRun } from "./json_lines_check.js";
import { Refused } from "../panel/core/too_large.js";
import { texts } from "../panel/core/texts.js";

const NULL_BYTES = /"bytes"\s*:\s*null/;

/**
 * @param {string} _form
 * @param {ArrayBuffer} body
 * @returns {Promise<Response>}
 */
export async function convertHere(_form, body) {
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(body);
  } catch {
    throw new Refused(texts.translate("keep.unreadable"));
  }
  const { findLoops } = await import("./engine/repetition.js");
  checkRun(text, findLoops);
  return new Response(text.split("\n").map(withoutNullBytes).join("\n"));
}

/**
 * A token whose `bytes` are null has none, which the panel knows as a token without this field, as the library writes it.
 * @param {string} line
 * @returns {string}
 */
function withoutNullBytes(line) {
  if (!NULL_BYTES.test(line)) return line;
  return JSON.stringify(JSON.parse(line, (name, value) => (name === "bytes" && value === null ? undefined : value)));
}
