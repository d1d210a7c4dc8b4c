// Beam search as decoding/beam.py has it, over caches that no later pass changes: a beam that parts needs no copy. Owns the search and
// the lines of its tree; run.js has the lines that every run has. Knows ids, and of a text what a token adds to it.

import * as requests from "./requests.js";
import { candidate, end, header, line, scoresOr, stepLine } from "./run.js";
import { say } from "./sentences.js";

// The search's winner, step by step, then the beams of each step. Throws Refusal before the first line; `check` throws Stopped after
// Stop was pressed.
export async function* search(engine, asked, check) {
  const { vocabulary, facts, limits } = engine;
  const request = requests.checkRequest(asked, limits);
  const most = requests.checkBeams(asked.beams, limits);
  const start = requests.startIds(request, vocabulary, facts);
  const remarks = requests.promptRemarks(request.prompt, start, vocabulary, facts);
  const kind = say("server.kind.beam", { kind: say("server.kind.beam.name"), beams: most });
  const steps = await searched(engine, start, { most, steps: request.steps, choices: Math.max(2, request.choices) }, check);
  yield header(engine, request, start, { remarks, kind });
  if (!steps) return yield end("error", [], say("server.model.nan"));
  const finished = finishedBeams(steps, most, request.steps);
  const winner = pathTo(steps, finished[0]);
  for (const [index, { beam, scores }] of winner.entries()) {
    const picked = { tokenId: beam.id, logprob: beam.logprob, rank: beam.rank };
    yield stepLine(vocabulary, { ...scores, picked }, { index, topK: request.choices, forced: beam.rank !== 0 });
  }
  for (const [number, { beams }] of steps.entries()) {
    const nodes = beams.map((beam) => nodeOf(vocabulary, beam));
    yield line({ beam_step: number, beams: nodes, ...(number + 1 === steps.length ? { finished: finished.map(({ step, place }) => [step, place]) } : {}) });
  }
  const ids = winner.map(({ beam }) => beam.id);
  yield end(facts.endIds.includes(ids.at(-1)) ? "end_of_text" : "steps", ids);
}

// The beams of each step, and the scores of the tokens after each beam of the step before; null for logits that are no distribution.
async function searched({ network, facts }, start, { most, steps: last, choices }, check) {
  const topK = Math.max(choices, Math.max(2, 1 + facts.endIds.length) * most);
  const read = async (ids, cache) => {
    const { logits, cache: longer } = await network.readAll(ids, cache, check);
    const scores = scoresOr(logits, topK, null);
    return scores && { scores, cache: longer };
  };
  const steps = [];
  let rows = [await read(start, network.emptyCache())];
  while (rows.every((row) => row !== null)) {
    const before = steps.at(-1)?.beams ?? null;
    const isLast = steps.length + 1 === last;
    const beams = nextBeams(before, rows, { most, endIds: facts.endIds, isLast });
    steps.push({ beams, scores: rows.map((row) => row?.scores) });
    const finished = finishedBeams(steps, most, last);
    const best = beams.find(({ ended }) => !ended);
    if (isLast || !best || (finished.length === most && best.total / steps.length <= finished.at(-1).score)) return steps;
    const parents = rows;
    rows = [];
    for (const beam of beams) rows.push(beam.ended ? undefined : await read([beam.id], parents[beam.parent].cache));
  }
  return null;
}

// Most probable first; of two as probable, the one whose beam was more probable, then the lower id.
export function nextBeams(before, rows, { most, endIds, isLast }) {
  const following = rows.flatMap((row, parent) => (row?.scores.tokenIds ?? []).map((id, rank) => {
    const logprob = row.scores.logprobs[rank];
    return { parent, id, logprob, rank, total: (before ? before[parent].total : 0) + logprob, ended: endIds.includes(id) };
  })).filter(({ logprob }) => logprob > -Infinity);
  following.sort((a, b) => b.total - a.total || a.parent - b.parent || a.id - b.id);
  if (isLast) return following.slice(0, most);
  const running = new Set(following.filter(({ ended }) => !ended).slice(0, most));
  return following.filter((beam, place) => running.has(beam) || (beam.ended && place < most));
}

export function finishedBeams(steps, most, last) {
  const found = steps.flatMap(({ beams }, step) => beams.flatMap((beam, place) => (
    beam.ended || step + 1 === last ? [{ step, place, score: beam.total / (step + 1) }] : [])));
  return found.sort((a, b) => b.score - a.score).slice(0, most);
}

// The beams that lead to one, each with the scores that it was chosen from.
function pathTo(steps, { step, place }) {
  const path = [];
  for (let [n, at] = [step, place]; n >= 0; n--) {
    const beam = steps[n].beams[at];
    path.unshift({ beam, scores: steps[n].scores[beam.parent] });
    at = beam.parent;
  }
  return path;
}

function nodeOf(vocabulary, { parent, id, logprob, rank, total, ended }) {
  const { text, bytes } = candidate(vocabulary, id, logprob, rank);
  return { parent, token_id: id, text, logprob, rank, total, ...(bytes === undefined ? {} : { bytes }), ...(ended ? { ended } : {}) };
}
