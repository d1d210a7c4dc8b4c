// The runs that are kept outlive a reload: this tab remembers the newest of them, as their JSON Lines, within bounds. Knows records and
// entries, and nothing of what is drawn.

import { change, openEntry } from "../core/history.js";
import { emptyRun, jsonLines, readLines } from "../core/run.js";

const KEPT = "greedyscope.kept";
const MAX_KEPT_CHARACTERS = 2_000_000; // browsers give a tab about 5 million
const MAX_KEPT_RUNS = 50;

// A page in a closed frame may remember nothing, and a tab's memory may be full: then it holds until the reload.
export function inTab(use) {
  try {
    return use(sessionStorage);
  } catch {
    return null;
  }
}

// The same after a reload: of the runs that the history names, a tab knows its own.
export function nameOfTab() {
  return inTab((tab) => {
    if (!tab.getItem(`${KEPT}.tab`)) tab.setItem(`${KEPT}.tab`, Math.random().toString(36).slice(2));
    return tab.getItem(`${KEPT}.tab`);
  }) ?? Math.random().toString(36).slice(2);
}

export function storeRuns(keep) {
  const whole = keep.entries.filter(({ run }) => run.end);
  const names = whole.map(({ number }) => number).join();
  if (keep.stored === names) return;
  keep.stored = names;
  setTimeout(writeRuns, 0, whole); // a run may be megabytes: not in the task that draws its end
}

function writeRuns(whole) {
  let room = MAX_KEPT_CHARACTERS;
  const kept = whole.toReversed().filter((entry, place) => {
    room -= entry.run.text.length;
    return place < MAX_KEPT_RUNS && room >= 0;
  }).toReversed();
  inTab((tab) => {
    const there = new Set(kept.map(({ number }) => `${KEPT}.run.${number}`));
    for (const name of Object.keys(tab)) if (name.startsWith(`${KEPT}.run.`) && !there.has(name)) tab.removeItem(name);
    for (const entry of kept) if (!tab.getItem(`${KEPT}.run.${entry.number}`)) tab.setItem(`${KEPT}.run.${entry.number}`, storedText(entry));
  });
}

function storedText({ number, parent, leftAt, kind, from, run }) {
  return JSON.stringify({ number, parent: parent?.number ?? null, leftAt, kind, from, text: jsonLines(run) });
}

// What the tab remembers becomes the runs that are kept; `first` is the page's own run, which then is no new one.
export function restoreRuns(keep, first) {
  const found = inTab((tab) => Object.keys(tab).filter((name) => name.startsWith(`${KEPT}.run.`)).map((name) => tab.getItem(name))) ?? [];
  const records = found.map(readStored).filter(Boolean).sort((a, b) => a.number - b.number);
  for (const { number, parent, leftAt, kind, from, run } of records) {
    const entry = { number, run, parent: keep.entries.find((each) => each.number === parent) ?? null, leftAt, kind, from, look: null };
    change(keep, { entry, at: keep.entries.length, adds: true, before: keep.shown });
    keep.made = number;
  }
  if (records.length === 0) return;
  keep.streaming = { run: first };
  const own = keep.entries.find(({ run }) => run.text === first.text) ?? openEntry(keep, first);
  if (own.kind === "file" && !own.from) own.kind = "run";
  keep.shown = own;
}

function readStored(text) {
  try {
    const { text: lines, ...entry } = JSON.parse(text);
    const run = readLines(emptyRun(), lines);
    return run.header && run.end ? { ...entry, run } : null;
  } catch {
    return null; // written by another version, or by hand
  }
}
