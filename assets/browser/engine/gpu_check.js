// Whether WebGPU says what WebAssembly says: both read the same ids, and their probabilities are held against each other. Knows networks
// and ids, and no worker.

/** @import { Network } from "./network.js" */

const MOST_DIFFERENCE = 1e-4; // of a probability
const TIMED_STEPS = 5;

/**
 * The logits after a text at once, in every layer of one id after it, and after the same id behind a part of the text: each has kernels
 * of its own. The first and the last two rows are steps, those between are layers.
 * @param {Network} network
 * @param {number[]} ids
 * @returns {Promise<Float32Array[]>}
 */
export async function rowsOf(network, ids) {
  const [text, next] = [ids.slice(0, -1), ids[ids.length - 1]];
  const whole = await network.read(text, network.emptyCache());
  const layers = await network.readLayers(next, whole.cache);
  const part = await network.read([next], network.cropped(whole.cache, Math.ceil(text.length / 2)));
  return [whole.logits, ...layers, part.logits];
}

/**
 * The median of a step's milliseconds.
 * @param {Network} network
 * @param {number[]} ids
 * @returns {Promise<number>}
 */
export async function stepTime(network, ids) {
  const times = [];
  let { cache } = await network.read(ids, network.emptyCache());
  while (times.length < TIMED_STEPS) {
    const started = performance.now();
    ({ cache } = await network.read(ids.slice(-1), cache));
    times.push(performance.now() - started);
  }
  return times.sort((a, b) => a - b)[TIMED_STEPS >> 1];
}

/**
 * The largest difference of a probability, and whether WebGPU may compute.
 * @param {Float32Array[]} ours
 * @param {Float32Array[]} theirs
 * @returns {{ difference: number, isTrusted: boolean }}
 */
export function compareRows(ours, theirs) {
  const differences = ours.map((row, n) => differenceOf(probabilitiesOf(row), probabilitiesOf(theirs[n])));
  const difference = Math.max(...differences); // NaN where one is
  const steps = [0, ours.length - 2, ours.length - 1];
  const isSame = steps.every((at) => argmax(ours[at]) === argmax(theirs[at]));
  return { difference, isTrusted: difference <= MOST_DIFFERENCE && isSame };
}

/** @param {Float32Array} logits */
function probabilitiesOf(logits) {
  const most = logits[argmax(logits)];
  const weights = Float64Array.from(logits, (logit) => Math.exp(logit - most));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

/**
 * @param {Float64Array} ours
 * @param {Float64Array} theirs
 */
function differenceOf(ours, theirs) {
  let most = 0;
  for (let id = 0; id < theirs.length; id++) most = Math.max(most, Math.abs(ours[id] - theirs[id]));
  return most;
}

/**
 * @param {Float32Array} logits
 * @returns {number}
 */
function argmax(logits) {
  let best = 0;
  for (let id = 1; id < logits.length; id++) if (logits[id] > logits[best]) best = id;
  return best;
}
