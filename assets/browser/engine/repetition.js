// Repetition in a list of ids: the loops that decoding/record/repetition.py finds. Knows ids alone.

/** @import { Loop } from "../../panel/core/run.js" */

const [SHORT_PERIOD, SHORT_REPEATS, LONG_REPEATS] = [2, 3, 2];

/**
 * Every loop, in the order of their beginnings: a block of `period` ids that stands `repeats` times back to back.
 * @param {number[]} ids
 * @returns {Loop[]}
 */
export function findLoops(ids) {
  /** @type {Map<string, { start: number, end: number, loop: Loop }>} */
  const spans = new Map();
  // Shorter periods first, so that of two that fill the same span the smallest stays.
  for (let period = 1; period <= Math.floor(ids.length / LONG_REPEATS); period++) {
    for (const [start, end] of spansOf(ids, period)) {
      const repeats = Math.floor((end - start) / period);
      const enough = period <= SHORT_PERIOD ? SHORT_REPEATS : LONG_REPEATS;
      const key = `${start} ${end}`;
      if (repeats >= enough && !spans.has(key)) spans.set(key, { start, end, loop: { start, period, repeats } });
    }
  }
  const loops = [];
  let reached = 0;
  for (const { end, loop } of [...spans.values()].sort((a, b) => a.start - b.start || b.end - a.end)) {
    if (end <= reached) continue; // it lies within one that has not ended yet
    loops.push(loop);
    reached = end;
  }
  return loops;
}

/**
 * Start and end of each longest stretch in which every id equals the one `period` before it.
 * @param {number[]} ids
 * @param {number} period
 * @returns {Generator<[number, number]>}
 */
function* spansOf(ids, period) {
  let start = 0;
  for (let at = 0; at <= ids.length - period; at++) {
    if (at < ids.length - period && ids[at] === ids[at + period]) continue;
    if (at > start) yield [start, at + period];
    start = at + 1;
  }
}
