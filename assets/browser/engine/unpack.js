// A matrix of float32 made of numbers of four bits: the recipes of decoding/engines/onnx/unpacking.py.

/** @typedef {{ numbers: number, scales: number, zero: number }} HalfRecipe four bits of each number; places are bytes in the file of weights */

/**
 * @typedef {object} Recipe
 * @property {string} file the name under which the graph asks for the matrix
 * @property {number} outputs
 * @property {number} blocks of a row
 * @property {number} block how many numbers it has
 * @property {HalfRecipe[]} halves
 * @property {number | null} offsets
 */

/**
 * @param {Recipe} recipe
 * @param {ArrayBuffer} weights the whole file of weights
 * @returns {Uint8Array<ArrayBuffer>} the matrix, rows (outputs) first
 */
export function unpack({ outputs, blocks, block, halves, offsets }, weights) {
  const made = new Float32Array(outputs * blocks * block);
  const floats = (/** @type {number} */ place) => new Float32Array(weights, place, outputs * blocks);
  const moved = offsets === null ? null : floats(offsets); // (blocks, outputs)
  for (const [n, half] of halves.entries()) {
    const numbers = new Uint8Array(weights, half.numbers, made.length / 2);
    const scales = floats(half.scales);
    let at = 0;
    for (let row = 0; row < outputs; row++) {
      for (let column = 0; column < blocks; column++) {
        const scale = scales[row * blocks + column];
        const least = (n === 0 && moved ? moved[column * outputs + row] : 0) - half.zero * scale;
        for (const end = at + block; at < end; at += 2) {
          const pair = numbers[at >> 1]; // the first of two in the lower four bits
          made[at] += (pair & 15) * scale + least;
          made[at + 1] += (pair >> 4) * scale + least;
        }
      }
    }
  }
  return new Uint8Array(made.buffer);
}
