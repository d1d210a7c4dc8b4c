// The runs that are kept as one tree: what two runs have in common is one line of boxes, and where they part the line forks. Knows no
// element of the page.

import { nameOf } from "./entry_names.js";
import { number, percent } from "./numbers.js";
import { totals } from "./run.js";
import { texts } from "./texts.js";
import { labelOf } from "./tokens.js";
import { haveSameModel, haveSamePrompt } from "./verdict.js";

/** @import { Tree, TreeNode } from "./beam_tree.js" */
/** @import { Entry, History } from "./history.js" */
/** @import { Step } from "./run.js" */

/**
 * Runs of one prompt by one model have one tree.
 * @param {History} history
 * @returns {Entry[]}
 */
export function runsOfTree(history) {
  return history.entries.filter((entry) => haveSamePrompt(entry.run, history.shown.run) && haveSameModel(entry.run, history.shown.run));
}

/**
 * @param {Entry[]} entries
 * @param {(entry: Entry, step: number) => void} onClick what a click on a step of a run does
 * @returns {Tree}
 */
export function runTree(entries, onClick) {
  /** @type {TreeNode[]} */
  const nodes = [];
  const beginnings = new Map(); // of a node's number and an id, the number of the node that follows
  const leads = leadersOf(entries);
  const groups = [...Map.groupBy(entries, ({ run }) => run.steps.map(({ picked }) => picked.token_id).join()).values()];
  const ends = groups.map((group, row) => {
    const [entry] = group;
    let parent = -1;
    for (const step of entry.run.steps) {
      const key = `${parent} ${step.picked.token_id}`;
      if (!beginnings.has(key)) {
        beginnings.set(key, nodes.length);
        nodes.push(nodeOfStep(entry, step, { row, parent, onClick: () => onClick(entry, step.index) }));
      }
      parent = beginnings.get(key);
      for (const each of group) nodes[parent].entries?.add(each);
    }
    const last = entry.run.steps.length;
    return { row, step: last, ...endWords(group, leads.has(entry)), onClick: () => onClick(entry, last - 1) };
  });
  return { columns: Math.max(1, ...entries.map(({ run }) => run.steps.length)), rows: groups.length, nodes, ends };
}

/**
 * @param {Entry} entry
 * @param {Step} step
 * @param {Pick<TreeNode, "row" | "parent" | "onClick">} place
 * @returns {TreeNode}
 */
function nodeOfStep(entry, step, place) {
  const { index, picked, forced } = step;
  const isDrawn = "draw" in step; // by sampling
  const kinds = new Set([...(forced ? ["forced"] : []), ...(isDrawn ? ["drawn"] : [])]);
  const title = [
    texts.translate("tree.run", { name: nameOf(entry), step: index + 1, token: labelOf(picked), probability: percent(picked.probability) }),
    forced ? texts.translate("tree.run.forced") : "",
    isDrawn ? texts.translate("tree.run.drawn") : "",
  ].filter(Boolean).join(" ");
  return { step: index, token: picked, value: percent(picked.probability), title, kinds, entries: new Set(), ...place };
}

/**
 * The runs whose texts are the most probable, where all are as long, and there to their end.
 * @param {Entry[]} entries
 * @returns {Set<Entry>}
 */
function leadersOf(entries) {
  const [{ run: first }] = entries;
  if (entries.length < 2 || !entries.every(({ run }) => run.end && run.steps.length === first.steps.length)) return new Set();
  const best = Math.max(...entries.map(({ run }) => totals(run).logprob));
  return new Set(entries.filter(({ run }) => totals(run).logprob > best - 1e-9));
}

/**
 * Runs of one text have one row.
 * @param {Entry[]} group
 * @param {boolean} leads
 */
function endWords(group, leads) {
  const [{ run }] = group;
  const name = group.map(nameOf).join(" = ");
  const { logprob } = totals(run);
  return {
    text: [`${name} · ${number(logprob, 2)}`, leads ? "★" : ""].filter(Boolean).join(" "),
    title: [texts.translate("tree.run.end", { name, logprob: number(logprob, 3), count: run.steps.length }), leads ? texts.translate("forks.best") : ""].filter(Boolean).join(" "),
  };
}
