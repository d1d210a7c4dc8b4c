// The "Trees" tab: the beams of a search, and the runs that are kept, each as a picture and as a list. Owns what is shown when, and which
// boxes are those of the text on screen.

import { beamTree, goToPath, searchOf, treeKey } from "../core/beam_tree.js";
import { runsOfTree, runTree } from "../core/run_tree.js";
import { texts } from "../core/texts.js";
import { haveSameModel, haveSamePrompt, verdictOn } from "../core/verdict.js";
import { drawTree, listenToTree, markNodes } from "../view/tree.js";

/** @import { History } from "../core/history.js" */
/** @import { Panel, State } from "../core/state.js" */
/** @import { Parts } from "../view/panel_elements.js" */

/**
 * @param {Parts} parts
 * @param {History} history
 * @param {State} state
 * @param {Panel} panel
 */
export function drawTrees(parts, history, state, panel) {
  drawBeamTree(treeParts(parts, "beams"), history, state, panel);
  drawRunTree(treeParts(parts, "runs"), history, state, panel);
}

/**
 * @param {Parts} parts
 * @param {string} name
 */
function treeParts(parts, name) {
  const section = parts.root.querySelector(`.gs-tree-${name}`);
  return { sentence: section.querySelector(".gs-tree-status"), lead: section.querySelector(".gs-tree-lead"), box: section.querySelector(".gs-tree") };
}

/**
 * @param {ReturnType<typeof treeParts>} parts
 * @param {History} history
 * @param {State} state
 * @param {Panel} panel
 */
function drawBeamTree({ sentence, lead, box }, history, state, panel) {
  const search = searchOf(history);
  box.hidden = lead.hidden = !search;
  if (!search) return texts.write(sentence, "tree.beams.none");
  const { parent } = search;
  const compared = parent && history.entries.includes(parent) ? verdictOn(history, parent, search) : "";
  if (sentence.textContent !== compared) sentence.textContent = compared;
  const key = treeKey([search]);
  if (box.drawn !== key) drawTree(box, beamTree(search.run, (path) => goToPath(panel, history, search, path)), key);
  const picked = state.run.steps.slice(0, state.chosen + 1).map((step) => step.picked.token_id);
  const isOfSearch = haveSamePrompt(search.run, state.run) && haveSameModel(search.run, state.run);
  markNodes(box, ({ ids = [] }) => isOfSearch && ids.length <= picked.length && ids.every((id, n) => id === picked[n]));
}

/**
 * @param {ReturnType<typeof treeParts>} parts
 * @param {History} history
 * @param {State} state
 * @param {Panel} panel
 */
function drawRunTree({ sentence, box }, history, state, panel) {
  const entries = runsOfTree(history);
  texts.write(sentence, "tree.runs.lead");
  const key = treeKey(entries);
  if (box.drawn !== key) drawTree(box, runTree(entries, panel.showStep), key);
  markNodes(box, (node) => node.step <= state.chosen && Boolean(node.entries?.has(history.shown)));
}

/** @param {Parts} parts */
export function listenToTrees(parts) {
  for (const name of ["beams", "runs"]) listenToTree(treeParts(parts, name).box);
}
