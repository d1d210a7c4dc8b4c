// Saves what came of a class vote: as a picture, SVG or PNG, and as CSV. Knows no server.

import { votesCsv } from "../core/class_score.js";
import { Refused } from "../core/too_large.js";
import { pngOf } from "../view/step_image.js";
import { saveFile } from "../tabs/export.js";

/** @import { VoteResult } from "../core/class_score.js" */
/** @import { VoteParts } from "../view/vote_view.js" */

/**
 * Saves the picture that is shown, or its numbers. Where the browser does not make it, a sentence says so.
 * @param {VoteParts} slots
 * @param {VoteResult[]} results
 * @param {string} form "svg", "png" or "csv"
 */
export async function saveVotes(slots, results, form) {
  slots.unsaved.textContent = "";
  try {
    saveFile(await fileOf(slots, results, form), `greedyscope-vote.${form}`);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    slots.unsaved.textContent = error.message;
  }
}

/**
 * @param {VoteParts} slots
 * @param {VoteResult[]} results
 * @param {string} form
 * @returns {Blob | Promise<Blob>}
 */
function fileOf(slots, results, form) {
  if (form === "csv") return new Blob(["\ufeff", votesCsv(results)], { type: "text/csv" });
  const svg = new XMLSerializer().serializeToString(slots.picture.firstElementChild);
  return form === "svg" ? new Blob([svg], { type: "image/svg+xml" }) : pngOf(svg);
}
