// The runs that are kept beside each other, each with the run it left and where. They live in this browser and nowhere else.

function emptyKeep() {
  return { entries: [], shown: null, streaming: null, asked: null, made: 0, undo: [], redo: [] };
}

// A new run comes in: one that was asked for from another run is its branch.
function addEntry(keep, run) {
  const { parent = null, step = null, kind = "run", look = null } = keep.asked ?? {};
  keep.asked = null;
  const entry = { number: ++keep.made, run, parent: kind === "run" ? null : parent, leftAt: step, kind, look };
  change(keep, { entry, at: keep.entries.length, adds: true, before: keep.shown });
  keep.streaming = entry;
  return entry;
}

// A run from a file stands beside the others, and what streams in meanwhile goes on.
function openEntry(keep, run, from) {
  const entry = { number: ++keep.made, run, parent: null, leftAt: null, kind: "file", look: null, from };
  change(keep, { entry, at: keep.entries.length, adds: true, before: keep.shown });
  return entry;
}

function nameOf(entry) {
  return texts.say("runs.name", { number: entry.number });
}

function removeEntry(keep, entry) {
  const at = keep.entries.indexOf(entry);
  if (at < 0 || keep.entries.length === 1) return;
  change(keep, { entry, at, adds: false, before: keep.shown });
}

function change(keep, step) {
  apply(keep, step, step.adds);
  keep.undo.push(step);
  keep.redo = [];
}

function undo(keep) {
  if (keep.undo.length < 2) return; // the first run stays
  const step = keep.undo.pop();
  apply(keep, step, !step.adds);
  if (keep.entries.includes(step.before)) keep.shown = step.before;
  keep.redo.push(step);
}

function redo(keep) {
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

// Everything that a server needs to write the run again up to a step: no server has to remember it.
function requestUpTo(run, step) {
  const { model, prompt, max_new_tokens: steps, top_k: choices } = run.header;
  const forced = run.steps.slice(0, step).filter((s) => s.forced).map((s) => [s.index, s.picked.token_id]);
  return { model: model.id, prompt, steps, choices, forced };
}

function describe(keep, entry) {
  if (entry.from) return texts.say("runs.file", { name: entry.from });
  if (entry.run.header.note) return texts.say("runs.recorded");
  if (entry.leftAt === null) {
    const kind = texts.say(`runs.kind.${entry.kind}`);
    const models = new Set(keep.entries.map(({ run }) => run.header.model.id));
    return models.size > 1 ? `${kind} · ${entry.run.header.model.id}` : kind;
  }
  const name = keep.entries.includes(entry.parent) ? nameOf(entry.parent) : texts.say("runs.removed");
  return texts.say("runs.left", { name, step: entry.leftAt + 1 });
}

function firstDifference(a, b) {
  const most = Math.max(a.steps.length, b.steps.length);
  for (let n = 0; n < most; n++) {
    if (a.steps[n]?.picked.token_id !== b.steps[n]?.picked.token_id) return n;
  }
  return -1;
}

// One sentence on which text the model finds more probable, and by how much.
function verdictOn(keep, a, b) {
  const [first, second] = [a, b].map((entry) => ({ entry, count: entry.run.steps.length, ...totals(entry.run) }));
  if (first.count !== second.count) {
    const each = (side) => number(side.logprob / side.count, 3);
    const sums = { firstSum: number(first.logprob, 3), secondSum: number(second.logprob, 3), firstEach: each(first), secondEach: each(second) };
    return texts.say("verdict.lengths", { first: first.count, second: second.count, ...sums });
  }
  const lead = first.logprob - second.logprob;
  if (Math.abs(lead) < 1e-6) return texts.say("verdict.tie", { logprob: number(first.logprob, 3), count: first.count });
  const [winner, loser] = lead > 0 ? [first, second] : [second, first];
  const times = Math.exp(Math.abs(lead));
  const factor = times < 1e9 ? times.toLocaleString("en", { maximumSignificantDigits: 3 }) : `10^${Math.round(Math.log10(times))}`;
  const name = ({ entry }) => (entry.kind === "run" ? nameOf(entry) : `${nameOf(entry)} (${describe(keep, entry)})`);
  const sums = { winnerSum: number(winner.logprob, 3), loserSum: number(loser.logprob, 3), count: first.count };
  return texts.say("verdict.wins", { winner: name(winner), loser: name(loser), factor, ...sums });
}
