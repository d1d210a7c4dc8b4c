// The panel in a file of its own: the run is in the file, and there is no server to answer a question. decoding/export/standalone.py calls
// `startFile` once.

import { provide } from "../panel/core/constants.js";
import { refusalOf } from "../panel/core/too_large.js";
import { followTheme } from "../panel/view/theme.js";
import { startPanel } from "../panel/app/panel.js";

/** @typedef {Parameters<typeof provide>[0]} Given */

const standalone = document.querySelector("#panel");

followTheme();

// What is left of the questions is what the run alone can answer. The panel looks for all of them, so they are hidden, not gone.
for (const button of standalone.querySelectorAll("#gs-page-whatif [data-ask]")) {
  button.hidden = true;
  if (button.dataset.ask !== "closest") button.closest("section").hidden = true;
}
standalone.querySelector("#gs-tab-whatif").dataset.text = "standalone.whatif";
for (const name of ["tab-compare", "tab-keep"]) standalone.querySelector(`#gs-${name}`).remove();
standalone.querySelector(".gs-whole").remove();
standalone.querySelector(".gs-bars").dataset.textLabel = "standalone.bars";

// Before the panel hears of it: a candidate is no question here, and a cell of the table is a part of its row.
standalone.addEventListener("click", (/** @type {PageEvent<MouseEvent>} */ event) => {
  const cell = event.target.closest("td[data-candidate]");
  if (cell) delete cell.dataset.candidate;
  if (event.target.closest("[data-candidate], [data-fork], [data-ask]")) event.stopPropagation();
}, { capture: true });

/**
 * The words of every language are packed, since after the run they are most of the file.
 * @param {string} packed
 * @returns {Promise<Given["texts"]>}
 */
async function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  return JSON.parse(await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).text());
}

/**
 * @param {string} packed
 * @param {Omit<Given, "texts">} data
 * @param {Parameters<typeof startPanel>[5]} [drawLensPicture]
 */
export async function startFile(packed, data, drawLensPicture) {
  provide({ ...data, texts: await unpack(packed) });
  const run = document.querySelector("#run").textContent;
  const isTooLarge = refusalOf(run) !== "";
  startPanel(standalone, { value: isTooLarge ? "" : run }, () => {}, () => {}, null, drawLensPicture);
  const kept = document.querySelector(".kept");
  if (isTooLarge) delete kept.dataset.text; // so that no language writes over it
  if (isTooLarge) kept.textContent = refusalOf(run);
}
