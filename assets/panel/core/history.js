// The runs that are kept beside each other, each with the run it left and where. They live in this browser and nowhere else.

import { texts } from "./texts.js";

export function emptyKeep() {
  return { entries: [], shown: null, streaming: null, asked: null, made: 0, undo: [], redo: [] };
}

// A new run comes in: one that was asked for from another run is its branch.
export function addEntry(keep, run) {
  const { parent = null, step = null, kind = "run", look = null } = keep.asked ?? {};
  keep.asked = null;
  const entry = { number: ++keep.made, run, parent: kind === "run" ? null : parent, leftAt: step, kind, look };
  change(keep, { entry, at: keep.entries.length, adds: true, before: keep.shown });
  keep.streaming = entry;
  return entry;
}

// A run from a file stands beside the others, and what streams in meanwhile goes on.
export function openEntry(keep, run, from) {
  const entry = { number: ++keep.made, run, parent: null, leftAt: null, kind: "file", look: null, from };
  change(keep, { entry, at: keep.entries.length, adds: true, before: keep.shown });
  return entry;
}

export function nameOf(entry) {
  return texts.say("runs.name", { number: entry.number });
}

export function removeEntry(keep, entry) {
  const at = keep.entries.indexOf(entry);
  if (at < 0 || keep.entries.length === 1) return;
  change(keep, { entry, at, adds: false, before: keep.shown });
}

export function change(keep, step) {
  apply(keep, step, step.adds);
  keep.undo.push(step);
  keep.redo = [];
}

export function undo(keep) {
  if (keep.undo.length < 2) return; // the first run stays
  const step = keep.undo.pop();
  apply(keep, step, !step.adds);
  if (keep.entries.includes(step.before)) keep.shown = step.before;
  keep.redo.push(step);
}

export function redo(keep) {
  const step = keep.redo.pop();
  if (!step) return;
  apply(keep, step, step.adds);
  keep.undo.push(step);
}

function apply(keep, { entry, at }, adds) {
  if (adds) {
    keep.entries.splice(at, 0, entry);
    keep.shown = entry;
    return;
  }
  keep.entries.splice(at, 1);
  if (keep.shown === entry) keep.shown = keep.entries.includes(entry.parent) ? entry.parent : keep.entries[Math.max(0, at - 1)];
}

export function describe(keep, entry) {
  if (entry.from) return texts.say("runs.file", { name: entry.from });
  if (entry.run.header.note) return texts.say("runs.recorded");
  if (entry.leftAt === null) {
    const picks = entry.run.steps.filter(({ forced }) => forced).length;
    const isGreedy = !["beam", "score"].includes(entry.kind);
    const kind = isGreedy && picks ? texts.say("runs.kind.forced", { count: picks }) : texts.say(`runs.kind.${entry.kind}`);
    const models = new Set(keep.entries.map(({ run }) => run.header.model.id));
    return models.size > 1 ? `${kind} · ${entry.run.header.model.id}` : kind;
  }
  const name = keep.entries.includes(entry.parent) ? nameOf(entry.parent) : texts.say("runs.removed");
  return texts.say("runs.left", { name, step: entry.leftAt + 1 });
}
