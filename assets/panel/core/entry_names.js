// What people call the runs that are kept, and where each came from.

import { isKept } from "./history.js";
import { isChosen } from "./how_picked.js";
import { texts } from "./texts.js";

/** @import { Entry, History } from "./history.js" */

/**
 * @param {Pick<Entry, "number">} entry
 * @returns {string}
 */
export function nameOf(entry) {
  return texts.translate("runs.name", { number: entry.number });
}

/**
 * @param {History} history
 * @param {Entry} entry
 * @returns {string}
 */
export function describeEntry(history, entry) {
  if (entry.from) return texts.translate("runs.file", { name: entry.from });
  if (entry.run.header.note) return texts.translate("runs.recorded");
  if (entry.leftAt === null || (entry.run.end && entry.leftAt >= entry.run.steps.length)) { // or stopped before it left
    const { sampling } = entry.run.header;
    if (sampling) return texts.translate("runs.kind.drawn", { seed: sampling.seed ?? 0 });
    const picks = entry.run.steps.filter(isChosen).length;
    const isGreedy = !["beam", "score"].includes(entry.kind);
    const kind = isGreedy && picks ? texts.translate("runs.kind.forced", { count: picks }) : texts.translate(`runs.kind.${entry.kind}`);
    const models = new Set(history.entries.map(({ run }) => run.header.model.id));
    return models.size > 1 ? `${kind} · ${entry.run.header.model.id}` : kind;
  }
  const name = isKept(history, entry.parent) ? nameOf(entry.parent) : texts.translate("runs.removed");
  return texts.translate("runs.left", { name, step: entry.leftAt + 1 });
}
