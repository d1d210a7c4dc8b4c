// A file opened as a run, where there is no server to check it: the static site's own `convert` (the page's is
// assets/panel/app/server_conversion.js). JSON Lines is the one form that the site has.

import { checkRun } from "./json_lines_check.js";
import { Refused } from "../panel/core/limits.js";
import { texts } from "../panel/core/texts.js";

export async function convertHere(_form, body) {
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(body);
  } catch {
    throw new Refused(texts.translate("keep.unreadable"));
  }
  const { findLoops } = await import("./engine/repetition.js");
  checkRun(text, findLoops);
  return new Response(text);
}
