// The model's graph in onnxruntime-web: some ids after a cache in, logits and the longer cache out. Owns the session, its threads and the
// shapes of keys and values. Knows no text and no loop. The contract of a graph stands in decoding/engines/onnx/architecture/layers.py.

import { unpack } from "./unpack.js";

/** @import { InferenceSession, TypedTensor } from "./lib/ort.wasm.bundle.min.js" */
/** @import { ModelFacts } from "../model_facts.js" */
/** @import { Recipe } from "./unpack.js" */

/** @typedef {typeof import("./lib/ort.wasm.bundle.min.js")} OnnxRuntime */
/** @typedef {TypedTensor<"float32">} FloatTensor */

/** @typedef {Record<string, FloatTensor>} Tensors keys and values of each layer, (1, kvHeads, positions, headWidth), by the names of the graph */

/**
 * The keys and values of some ids. No pass changes a cache, so that several texts go on from one.
 * @typedef {object} KvCache
 * @property {readonly number[]} ids those that were read
 * @property {Tensors} tensors empty on a GPU: gpu_network.js keeps them
 */

/** @typedef {{ logits: Float32Array, cache: KvCache }} Read the logits, row behind row, and the cache with the ids in it */

/** @typedef {{ logits: Float32Array, tensors: Tensors }} Pass */

/** @typedef {() => void | Promise<void>} Check is called between two passes, and throws where there is to be no other */

/** @typedef {{ runtime: ArrayBuffer, packed: ArrayBuffer, weights: ArrayBuffer }} NetworkFiles `packed`: the graph over the weights as they are stored */

/** @typedef {{ unpacked: ArrayBuffer, recipes: ArrayBuffer }} UnpackedFiles the graph over float32, and how its matrices are made of the weights */

const MOST_THREADS = 4; // a step is a matter of the memory, which few cores fill
const SCORED_LOGITS = 2 ** 22; // the most logits that one pass returns of a given text
const NO_LOGITS = new Float32Array();

/**
 * Threads need memory that is shared, which WebKitGTK has not even where a page is kept apart from others.
 * @returns {number}
 */
export function threadsHere() {
  return self.crossOriginIsolated && self.SharedArrayBuffer ? Math.min(MOST_THREADS, navigator.hardwareConcurrency ?? 1) : 1;
}

/**
 * The names of a graph's keys and values.
 * @param {ModelFacts} facts
 * @returns {string[]}
 */
export function namesOf({ layers }) {
  return Array.from({ length: layers }, (_, layer) => [`k${layer}`, `v${layer}`]).flat();
}

export class Network {
  /**
   * @param {OnnxRuntime} ort
   * @param {InferenceSession} session
   * @param {ModelFacts} facts
   * @param {boolean} unpacks whether its matrices are float32 in memory
   */
  constructor(ort, session, facts, unpacks) {
    this.ort = ort;
    this.session = session;
    this.facts = facts;
    this.unpacks = unpacks;
    this.names = namesOf(facts);
  }

  /**
   * @param {NetworkFiles} files
   * @param {ModelFacts} facts
   * @param {UnpackedFiles | null} unpacked null keeps the weights as they are stored
   * @returns {Promise<Network>}
   */
  static async open(files, facts, unpacked) {
    const ort = await import("./lib/ort.wasm.bundle.min.js");
    Object.assign(ort.env.wasm, { wasmBinary: files.runtime, numThreads: threadsHere() });
    const externalData = [{ path: facts.weights.name, data: new Uint8Array(files.weights) }];
    if (unpacked) {
      /** @type {Recipe[]} */
      const recipes = JSON.parse(new TextDecoder().decode(unpacked.recipes));
      externalData.push(...recipes.map((recipe) => ({ path: recipe.file, data: unpack(recipe, files.weights) })));
    }
    const graph = new Uint8Array(unpacked?.unpacked ?? files.packed);
    const session = await ort.InferenceSession.create(graph, { executionProviders: ["wasm"], externalData, logSeverityLevel: 3 });
    return new Network(ort, session, facts, unpacked !== null);
  }

  /** @returns {Tensors} */
  emptyTensors() {
    const shape = [1, this.facts.kvHeads, 0, this.facts.headWidth];
    return Object.fromEntries(this.names.map((name) => [name, new this.ort.Tensor("float32", new Float32Array(0), shape)]));
  }

  /** @returns {KvCache} */
  emptyCache() {
    return { ids: [], tensors: this.emptyTensors() };
  }

  /**
   * The first `length` positions of a cache.
   * @param {KvCache} cache
   * @param {number} length
   * @returns {KvCache}
   */
  cropped(cache, length) {
    if (length === cache.ids.length) return cache;
    const { kvHeads, headWidth } = this.facts;
    const [whole, part] = [cache.ids.length * headWidth, length * headWidth];
    const crop = (/** @type {FloatTensor} */ { data }) => {
      const kept = new Float32Array(kvHeads * part);
      for (let head = 0; head < kvHeads; head++) kept.set(data.subarray(head * whole, head * whole + part), head * part);
      return new this.ort.Tensor("float32", kept, [1, kvHeads, length, headWidth]);
    };
    return { ids: cache.ids.slice(0, length), tensors: Object.fromEntries(this.names.map((name) => [name, crop(cache.tensors[name])])) };
  }

  /**
   * Read ids after a cache: the logits after the last `count` of them.
   * @param {readonly number[]} ids
   * @param {KvCache} cache
   * @param {number} [count]
   * @param {readonly number[]} [layersAt] places among these of which each layer's logits come first
   * @returns {Promise<Read>}
   */
  async read(ids, cache, count = 1, layersAt = []) {
    const { logits, tensors } = await this.run(ids, cache.tensors, cache.ids.length, count, layersAt);
    return { logits, cache: { ids: [...cache.ids, ...ids], tensors } };
  }

  /**
   * One pass over ids after keys and values of `before` positions.
   * @param {readonly number[]} ids
   * @param {Tensors} tensors
   * @param {number} before
   * @param {number} count
   * @param {readonly number[]} layersAt
   * @returns {Promise<Pass>}
   */
  async run(ids, tensors, before, count, layersAt) {
    const { Tensor } = this.ort;
    const length = before + ids.length;
    const positions = Array.from({ length: count }, (_, n) => BigInt(ids.length - count + n));
    const past = Object.fromEntries(this.names.map((name) => [`past_${name}`, tensors[name]]));
    const found = /** @type {Tensors} */ (await this.session.run({
      ...past,
      input_ids: new Tensor("int64", BigInt64Array.from(ids, BigInt), [ids.length]),
      seqlens_k: new Tensor("int32", Int32Array.of(length - 1), [1]),
      total_length: new Tensor("int32", Int32Array.of(length), []),
      positions: new Tensor("int64", BigInt64Array.from(positions), [count]),
      layers_at: new Tensor("int64", BigInt64Array.from(layersAt, BigInt), [layersAt.length]),
    }));
    return { logits: found.logits.data, tensors: Object.fromEntries(this.names.map((name) => [name, found[`new_${name}`]])) };
  }

  /**
   * Read one id, and return the logits after it as the last norm and the head read each layer's state: of the embedding, then after
   * each layer, the last of which are the step's own.
   * @param {number} id
   * @param {KvCache} cache
   * @returns {Promise<Float32Array[]>}
   */
  async readLayers(id, cache) {
    const { logits } = await this.read([id], cache, 1, [0]);
    const size = this.facts.vocabularySize;
    const rows = Array.from({ length: this.facts.layers + 1 }, (_, row) => logits.subarray(row * size, (row + 1) * size));
    return [...rows.slice(1), rows[0]];
  }

  /**
   * Read any number of ids, in pieces, so that it can be stopped between two. Without ids there are no logits.
   * @param {readonly number[]} ids
   * @param {KvCache} cache
   * @param {Check} check
   * @returns {Promise<Read>}
   */
  async readAll(ids, cache, check) {
    /** @type {Read} */
    let read = { logits: NO_LOGITS, cache };
    for (let at = 0; at < ids.length; at += this.facts.maxRead) {
      await check();
      read = await this.read(ids.slice(at, at + this.facts.maxRead), read.cache);
    }
    return read;
  }

  /**
   * The logits before each id of a text that comes after others.
   * @param {readonly number[]} start at least one id
   * @param {readonly number[]} ids
   * @param {Check} check
   * @returns {AsyncGenerator<Float32Array>}
   */
  async *rowsBefore(start, ids, check) {
    const size = this.facts.vocabularySize;
    const unread = [start[start.length - 1], ...ids.slice(0, -1)];
    let { cache } = await this.readAll(start.slice(0, -1), this.emptyCache(), check);
    const most = Math.max(1, Math.floor(SCORED_LOGITS / size));
    for (let at = 0; at < unread.length; at += most) {
      await check();
      const piece = unread.slice(at, at + most);
      const read = await this.read(piece, cache, piece.length);
      cache = read.cache;
      for (let row = 0; row < piece.length; row++) yield read.logits.subarray(row * size, (row + 1) * size);
    }
  }
}
