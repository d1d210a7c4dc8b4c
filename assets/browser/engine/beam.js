// Beam search as decoding/beam.py has it, over caches that no later pass changes: a beam that parts needs no copy. Owns the search and
// the lines of its tree; run.js has the lines that every run has. Knows ids, and of a text what a token adds to it.

import * as requests from "./requests.js";
import { candidate, end, header, line, scoresOrNull, stepLine } from "./run.js";
import { sentence } from "./sentences.js";

/** @import { Beam } from "../../panel/core/run.js" */
/** @import { BeamQuestion } from "../messages.js" */
/** @import { Check, KvCache } from "./network.js" */
/** @import { Engine } from "./run.js" */
/** @import { StepScores } from "./scores.js" */
/** @import { Vocabulary } from "./tokens.js" */

/**
 * A beam by its last token.
 * @typedef {object} SearchBeam
 * @property {number} parent its place among the beams of the step before
 * @property {number} id
 * @property {number} logprob in nats, of this token
 * @property {number} rank
 * @property {number} total in nats, of all that was picked
 * @property {boolean} ended
 */

/** @typedef {{ scores: StepScores, cache: KvCache }} Row what follows a beam that goes on */

/** @typedef {{ beams: SearchBeam[], scores: (StepScores | undefined)[] }} SearchStep its beams, and what follows each beam of the step before */

/** @typedef {{ step: number, place: number, score: number }} Finished a beam that is a whole text; `score` is its log-probability a token */

/** @typedef {{ beam: SearchBeam, scores: StepScores }} ChosenBeam and the scores that it was chosen from */

/**
 * The search's winner, step by step, then the beams of each step. Throws Refusal before the first line; `check` throws Stopped after
 * Stop was pressed.
 * @param {Engine} engine
 * @param {BeamQuestion} asked
 * @param {Check} check
 * @returns {AsyncGenerator<string>}
 */
export async function* search(engine, asked, check) {
  const { vocabulary, facts, limits } = engine;
  const request = requests.checkRequest(asked, limits);
  const most = requests.checkBeams(asked.beams, limits);
  const start = requests.startIds(request, vocabulary, facts);
  const remarks = requests.promptRemarks(request.prompt, start, vocabulary, facts);
  const kind = sentence("server.kind.beam", { kind: sentence("server.kind.beam.name"), beams: most });
  const steps = await searchSteps(engine, start, { most, steps: request.steps, choices: Math.max(2, request.choices) }, check);
  yield header(engine, request, start, { remarks, kind });
  if (!steps) return yield end("error", [], sentence("server.model.nan"));
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
  yield end(facts.endIds.includes(ids[ids.length - 1]) ? "end_of_text" : "steps", ids);
}

/**
 * The beams of each step, and the scores of the tokens after each beam of the step before; null for logits that are no distribution.
 * @param {Engine} engine
 * @param {number[]} start
 * @param {{ most: number, steps: number, choices: number }} request
 * @param {Check} check
 * @returns {Promise<SearchStep[] | null>}
 */
async function searchSteps({ network, facts }, start, { most, steps: last, choices }, check) {
  const topK = Math.max(choices, Math.max(2, 1 + facts.endIds.length) * most);
  /** @type {(ids: number[], cache: KvCache) => Promise<Row | null>} */
  const read = async (ids, cache) => {
    const { logits, cache: longer } = await network.readAll(ids, cache, check);
    const scores = scoresOrNull(logits, topK, null);
    return scores && { scores, cache: longer };
  };
  /** @type {SearchStep[]} */
  const steps = [];
  const first = await read(start, network.emptyCache());
  if (!first) return null;
  /** @type {(Row | undefined)[]} none after a beam that ended */
  let rows = [first];
  for (;;) {
    const before = steps.at(-1)?.beams ?? null;
    const isLast = steps.length + 1 === last;
    const beams = nextBeams(before, rows, { most, endIds: facts.endIds, isLast });
    steps.push({ beams, scores: rows.map((row) => row?.scores) });
    const finished = finishedBeams(steps, most, last);
    const best = beams.find(({ ended }) => !ended);
    if (isLast || !best || (finished.length === most && best.total / steps.length <= finished[most - 1].score)) return steps;
    const parents = rows;
    rows = [];
    for (const beam of beams) {
      const parent = beam.ended ? undefined : parents[beam.parent];
      const row = parent && (await read([beam.id], parent.cache));
      if (row === null) return null;
      rows.push(row);
    }
  }
}

/**
 * Most probable first; of two as probable, the one whose beam was more probable, then the lower id.
 * @param {SearchBeam[] | null} before
 * @param {(Row | undefined)[]} rows
 * @param {{ most: number, endIds: number[], isLast: boolean }} limits
 * @returns {SearchBeam[]}
 */
function nextBeams(before, rows, { most, endIds, isLast }) {
  const following = rows.flatMap((row, parent) => row?.scores.tokenIds.map((id, rank) => {
    const logprob = row.scores.logprobs[rank];
    return { parent, id, logprob, rank, total: (before ? before[parent].total : 0) + logprob, ended: endIds.includes(id) };
  }) ?? []).filter(({ logprob }) => logprob > -Infinity);
  following.sort((a, b) => b.total - a.total || a.parent - b.parent || a.id - b.id);
  if (isLast) return following.slice(0, most);
  const running = new Set(following.filter(({ ended }) => !ended).slice(0, most));
  return following.filter((beam, place) => running.has(beam) || (beam.ended && place < most));
}

/**
 * The texts that are whole, the most probable a token first.
 * @param {SearchStep[]} steps
 * @param {number} most
 * @param {number} last the number of steps after which every text is whole
 * @returns {Finished[]}
 */
function finishedBeams(steps, most, last) {
  const found = steps.flatMap(({ beams }, step) => beams.flatMap((beam, place) => (
    beam.ended || step + 1 === last ? [{ step, place, score: beam.total / (step + 1) }] : [])));
  return found.sort((a, b) => b.score - a.score).slice(0, most);
}

/**
 * The beams that lead to one, each with the scores that it was chosen from.
 * @param {SearchStep[]} steps
 * @param {Finished} finished
 * @returns {ChosenBeam[]}
 */
function pathTo(steps, { step, place }) {
  /** @type {ChosenBeam[]} */
  const path = [];
  for (let [n, at] = [step, place]; n >= 0; n--) {
    const beam = steps[n].beams[at];
    path.unshift({ beam, scores: /** @type {StepScores} */ (steps[n].scores[beam.parent]) }); // a beam follows one that went on
    at = beam.parent;
  }
  return path;
}

/**
 * @param {Vocabulary} vocabulary
 * @param {SearchBeam} beam
 * @returns {Beam}
 */
function nodeOf(vocabulary, { parent, id, logprob, rank, total, ended }) {
  const { text, bytes } = candidate(vocabulary, id, logprob, rank);
  return { parent, token_id: id, text, logprob, rank, total, ...(bytes === undefined ? {} : { bytes }), ...(ended ? { ended } : {}) };
}
