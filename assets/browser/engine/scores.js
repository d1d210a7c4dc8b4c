// From the logits of one pass to what a step shows: probabilities over the whole vocabulary, then the cut. The same sums as
// decoding/softmax.py; the numbers of JavaScript are float64. Knows no loop and no text.

export const INVERSE_TEMPERATURES = [0.25, 0.5, 0.75, 1, 1.5, 2, 4];

export class NotANumber extends Error {}

/** @typedef {{ logprob: number, rank: number }} TokenScore in nats; rank 0 is the most probable */

/**
 * @typedef {object} StepScores
 * @property {number[]} tokenIds the most probable first
 * @property {number[]} logprobs of these, in nats
 * @property {number} entropy of the whole distribution, in nats
 * @property {TokenScore & { tokenId: number } | null} picked
 * @property {[number, number][]} logSums 1 / T, and log Σ exp(logit / T)
 */

/**
 * The scores of the most probable ids, and of one that is picked. Throws NotANumber for logits that are no distribution.
 * @param {Float32Array} logits
 * @param {number} topK
 * @param {number | null} [pickedId]
 * @returns {StepScores}
 */
export function readScores(logits, topK, pickedId = null) {
  const ids = largest(logits, topK);
  const most = logits[ids[0]];
  const sums = new Float64Array(INVERSE_TEMPERATURES.length);
  let [total, moment] = [0, 0];
  for (const logit of logits) {
    const weight = Math.exp(logit - most);
    const half = Math.sqrt(weight);
    const quarter = Math.sqrt(half);
    const square = weight * weight;
    total += weight;
    if (weight > 0) moment += (logit - most) * weight; // 0 · −inf would be NaN
    sums[0] += quarter;
    sums[1] += half;
    sums[2] += half * quarter;
    sums[4] += weight * half;
    sums[5] += square;
    sums[6] += square * square;
  }
  sums[3] = total;
  if (!Number.isFinite(total)) throw new NotANumber();
  const logTotal = Math.log(total);
  const logprobOf = (/** @type {number} */ id) => logits[id] - most - logTotal;
  return {
    tokenIds: ids,
    logprobs: ids.map(logprobOf),
    entropy: Math.max(logTotal - moment / total, 0),
    picked: pickedId === null ? null : { tokenId: pickedId, logprob: logprobOf(pickedId), rank: rankOf(logits, pickedId) },
    logSums: INVERSE_TEMPERATURES.map((power, n) => [power, Math.log(sums[n]) + power * most]),
  };
}

/**
 * Throws NotANumber for logits that are no distribution.
 * @param {Float32Array} logits
 * @param {number[]} ids
 * @returns {TokenScore[]}
 */
export function readTokens(logits, ids) {
  let [most, total] = [-Infinity, 0];
  for (const logit of logits) if (logit > most) most = logit;
  for (const logit of logits) total += Math.exp(logit - most);
  if (!Number.isFinite(total)) throw new NotANumber();
  return ids.map((id) => ({ logprob: logits[id] - most - Math.log(total), rank: rankOf(logits, id) }));
}

/**
 * The ids of the largest logits: largest first, the lower id first in a tie.
 * @param {Float32Array} logits
 * @param {number} count
 * @returns {number[]}
 */
function largest(logits, count) {
  /** @type {number[]} */
  const ids = [];
  let least = -Infinity; // of those that are in
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id];
    if (ids.length === count && !(logit > least)) continue;
    let at = ids.length;
    while (at > 0 && logit > logits[ids[at - 1]]) at--;
    ids.splice(at, 0, id);
    if (ids.length > count) ids.pop();
    least = logits[ids[ids.length - 1]];
  }
  return ids;
}

/**
 * @param {Float32Array} logits
 * @param {number} id
 * @returns {number}
 */
function rankOf(logits, id) {
  let ahead = 0;
  for (let other = 0; other < logits.length; other++) {
    if (logits[other] > logits[id] || (other < id && logits[other] === logits[id])) ahead++;
  }
  return ahead;
}
