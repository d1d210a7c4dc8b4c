// The model's graph in onnxruntime-web over WebGPU: what Network does, with the four-bit weights, the keys and the values in the GPU's
// memory. Owns those keys and values: a cache is the ids that were read, and what is no longer kept of them is read again. Its numbers
// are trusted only after gpu_check.js. Knows no loop.

import { Network, namesOf } from "./network.js";

/** @import { InferenceSession } from "./lib/ort.wasm.bundle.min.js" */
/** @import { ModelFacts } from "../model_facts.js" */
/** @import { KvCache, NetworkFiles, OnnxRuntime, Read, Tensors } from "./network.js" */

/** @typedef {{ ids: readonly number[], tensors: Tensors }} KeptText */

const ERRORS = /** @type {const} */ (["validation", "out-of-memory", "internal"]);
const MOST_TEXTS = 24; // eight beams, the eight that they come from, and some
const MOST_BYTES = 2 ** 27; // of their keys and values; the two texts that were used last are always kept

/**
 * The GPU that this browser offers, or null. A software adapter is a CPU behind WebGPU: it is slower than WebAssembly.
 * @returns {Promise<{ isSoftware: boolean } | null>}
 */
export async function findAdapter() {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" }).catch(() => null);
  return adapter ? { isSoftware: Boolean(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter) } : null;
}

export class GpuNetwork extends Network {
  #texts = new KeptTexts();

  /**
   * @param {OnnxRuntime} ort
   * @param {InferenceSession} session
   * @param {ModelFacts} facts
   * @param {GPUDevice} device
   */
  constructor(ort, session, facts, device) {
    super(ort, session, facts, false);
    this.device = device;
  }

  /**
   * @param {NetworkFiles} files
   * @param {ModelFacts} facts
   * @param {string} library the address of onnxruntime-web's script
   * @returns {Promise<GpuNetwork>}
   */
  static async openOnGpu(files, facts, library) {
    const ort = /** @type {OnnxRuntime} */ (await import(library));
    Object.assign(ort.env.wasm, { wasmBinary: files.runtime, numThreads: 1 });
    const externalData = [{ path: facts.weights.name, data: new Uint8Array(files.weights) }];
    const preferredOutputLocation = Object.fromEntries(namesOf(facts).map((name) => [`new_${name}`, /** @type {const} */ ("gpu-buffer")]));
    /** @type {InferenceSession.SessionOptions} */
    const options = { executionProviders: ["webgpu"], externalData, preferredOutputLocation, logSeverityLevel: 3 };
    const session = await ort.InferenceSession.create(new Uint8Array(files.packed), options);
    return new GpuNetwork(ort, session, facts, await ort.env.webgpu.device);
  }

  /**
   * @override
   * @returns {KvCache}
   */
  emptyCache() {
    return { ids: [], tensors: {} };
  }

  /**
   * @override
   * @param {KvCache} cache
   * @param {number} length
   * @returns {KvCache}
   */
  cropped(cache, length) {
    return { ids: cache.ids.slice(0, length), tensors: {} };
  }

  /**
   * @override
   * @param {readonly number[]} ids
   * @param {KvCache} cache
   * @param {number} [count]
   * @param {readonly number[]} [layersAt]
   * @returns {Promise<Read>}
   */
  async read(ids, cache, count = 1, layersAt = []) {
    const past = await this.#tensorsOf(cache.ids);
    const { logits, tensors } = await this.#checked(() => this.run(ids, past, cache.ids.length, count, layersAt));
    const read = [...cache.ids, ...ids];
    this.#texts.add({ ids: read, tensors });
    return { logits, cache: { ids: read, tensors: {} } };
  }

  /**
   * @param {readonly number[]} ids
   * @returns {Promise<Tensors>}
   */
  async #tensorsOf(ids) {
    if (ids.length === 0) return this.emptyTensors();
    if (!this.#texts.find(ids)) await this.readAll(ids, this.emptyCache(), () => {});
    const found = /** @type {KeptText} */ (this.#texts.find(ids)); // the text that was read last is kept
    if (found.ids.length === ids.length) return found.tensors;
    const tensors = await this.#checked(async () => this.#crop(found, ids.length));
    this.#texts.add({ ids, tensors });
    return tensors;
  }

  /**
   * Keys and values of a text's first ids, copied within the GPU.
   * @param {KeptText} text
   * @param {number} length
   * @returns {Tensors}
   */
  #crop({ ids, tensors }, length) {
    const { kvHeads, headWidth } = this.facts;
    const [whole, part] = [ids.length, length].map((positions) => positions * headWidth * Float32Array.BYTES_PER_ELEMENT);
    const { STORAGE, COPY_SRC, COPY_DST } = self.GPUBufferUsage;
    const encoder = this.device.createCommandEncoder();
    const copies = this.names.map((name) => {
      const buffer = this.device.createBuffer({ size: kvHeads * part, usage: STORAGE | COPY_SRC | COPY_DST });
      for (let head = 0; head < kvHeads; head++) encoder.copyBufferToBuffer(tensors[name].gpuBuffer, head * whole, buffer, head * part, part);
      const dims = [1, kvHeads, length, headWidth];
      return [name, this.ort.Tensor.fromGpuBuffer(buffer, { dataType: "float32", dims, dispose: () => buffer.destroy() })];
    });
    this.device.queue.submit([encoder.finish()]);
    return Object.fromEntries(copies);
  }

  /**
   * WebGPU does not stop at an error: the pass then returns whatever its buffers hold. So each pass checks for errors.
   * @template T
   * @param {() => Promise<T>} work
   * @returns {Promise<T>}
   */
  async #checked(work) {
    for (const kind of ERRORS) this.device.pushErrorScope(kind);
    const done = await work();
    const errors = await Promise.all(ERRORS.map(() => this.device.popErrorScope()));
    const error = errors.find((each) => each !== null);
    if (error) throw new Error(error.message);
    return done;
  }
}

// The texts whose keys and values are in the GPU's memory, the one that was used last at the end.
class KeptTexts {
  /** @type {KeptText[]} */
  #texts = [];

  /**
   * The shortest text that begins with these ids.
   * @param {readonly number[]} ids
   * @returns {KeptText | null}
   */
  find(ids) {
    /** @type {KeptText | null} */
    let found = null;
    for (const text of this.#texts) {
      if (text.ids.length < ids.length || (found && found.ids.length <= text.ids.length)) continue;
      if (ids.every((id, n) => text.ids[n] === id)) found = text;
    }
    if (found) this.#texts = [...this.#texts.filter((text) => text !== found), found];
    return found;
  }

  /** @param {KeptText} text */
  add(text) {
    this.#texts.push(text);
    let bytes = this.#texts.reduce((sum, each) => sum + bytesOf(each), 0);
    while (this.#texts.length > 2 && (this.#texts.length > MOST_TEXTS || bytes > MOST_BYTES)) {
      const [oldest] = this.#texts.splice(0, 1);
      bytes -= bytesOf(oldest);
      for (const tensor of Object.values(oldest.tensors)) tensor.dispose();
    }
  }
}

/** @param {KeptText} text */
function bytesOf({ tensors }) {
  return Object.values(tensors).reduce((sum, { size }) => sum + size * Float32Array.BYTES_PER_ELEMENT, 0);
}
