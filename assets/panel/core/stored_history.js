// The runs that a reload brings back, as entries of the history. On a page only: a file holds one run.

import { openEntry, recordChange } from "./history.js";

/** @import { Entry, History } from "./history.js" */
/** @import { Run } from "./run.js" */

/**
 * Runs that were stored come back under their numbers; `first` is the page's own run, which is one of them or comes beside them.
 * @param {History} history
 * @param {(Omit<Entry, "parent" | "stepToShow"> & { parent: number | null })[]} records
 * @param {Run} first
 */
export function restoreEntries(history, records, first) {
  for (const { parent, ...record } of records) {
    const entry = { ...record, parent: history.entries.find(({ number }) => number === parent) ?? null, stepToShow: null };
    recordChange(history, { entry, at: history.entries.length, adds: true, before: history.shown });
    history.lastNumber = entry.number;
  }
  if (records.length === 0) return;
  history.streaming = { run: first };
  const own = history.entries.find(({ run }) => run.text === first.text) ?? openEntry(history, first);
  if (own.kind === "file" && !own.from) own.kind = "run";
  history.shown = own;
}
