// The model's graph in onnxruntime-web: some ids after a cache in, logits and the longer cache out. Owns the session, its threads and the
// shapes of keys and values. Knows no text and no loop. The contract of a graph stands in decoding/engines/onnx/architecture/layers.py.

import { unpack } from "./unpack.js";

const MOST_THREADS = 4; // a step is a matter of the memory, which few cores fill
const SCORED_LOGITS = 2 ** 22; // the most logits that one pass returns of a given text

// Threads need memory that is shared, which WebKitGTK has not even where a page is kept apart from others.
export function threadsHere() {
  return self.crossOriginIsolated && self.SharedArrayBuffer ? Math.min(MOST_THREADS, navigator.hardwareConcurrency ?? 1) : 1;
}

export class Network {
  constructor(ort, session, facts, unpacks) {
    Object.assign(this, { ort, session, facts, unpacks });
    this.names = Array.from({ length: facts.layers }, (_, layer) => [`k${layer}`, `v${layer}`]).flat();
  }

  // `files`: the runtime, both graphs, the recipes and the weights, as ArrayBuffers. With `unpacks` the matrices are float32 in memory.
  static async open(files, facts, { unpacks }) {
    const ort = await import("./lib/ort.wasm.bundle.min.js");
    Object.assign(ort.env.wasm, { wasmBinary: files.runtime, numThreads: threadsHere() });
    const externalData = [{ path: facts.weights.name, data: new Uint8Array(files.weights) }];
    if (unpacks) {
      const recipes = JSON.parse(new TextDecoder().decode(files.recipes));
      externalData.push(...recipes.map((recipe) => ({ path: recipe.file, data: unpack(recipe, files.weights) })));
    }
    const graph = new Uint8Array(unpacks ? files.unpacked : files.packed);
    const options = { executionProviders: ["wasm"], externalData, logSeverityLevel: 3 };
    return new Network(ort, await ort.InferenceSession.create(graph, options), facts, unpacks);
  }

  emptyCache() {
    const shape = [1, this.facts.kvHeads, 0, this.facts.headWidth];
    return { length: 0, tensors: Object.fromEntries(this.names.map((name) => [name, new this.ort.Tensor("float32", new Float32Array(0), shape)])) };
  }

  // The first `length` positions of a cache.
  cropped(cache, length) {
    if (length === cache.length) return cache;
    const { kvHeads, headWidth } = this.facts;
    const [whole, part] = [cache.length * headWidth, length * headWidth];
    const crop = ({ data }) => {
      const kept = new Float32Array(kvHeads * part);
      for (let head = 0; head < kvHeads; head++) kept.set(data.subarray(head * whole, head * whole + part), head * part);
      return new this.ort.Tensor("float32", kept, [1, kvHeads, length, headWidth]);
    };
    return { length, tensors: Object.fromEntries(this.names.map((name) => [name, crop(cache.tensors[name])])) };
  }

  // Read ids after a cache: the logits after the last `count` of them, one behind the other, and the cache with the ids in it.
  async read(ids, cache, count = 1, layersAt = []) {
    const { logits, tensors } = await this.run(ids, cache.tensors, cache.length, count, layersAt);
    return { logits, cache: { length: cache.length + ids.length, tensors } };
  }

  // One pass over ids after keys and values of `before` positions.
  async run(ids, tensors, before, count, layersAt) {
    const { Tensor } = this.ort;
    const length = before + ids.length;
    const positions = Array.from({ length: count }, (_, n) => BigInt(ids.length - count + n));
    const past = Object.fromEntries(this.names.map((name) => [`past_${name}`, tensors[name]]));
    const found = await this.session.run({
      ...past,
      input_ids: new Tensor("int64", BigInt64Array.from(ids, BigInt), [1, ids.length]),
      seqlens_k: new Tensor("int32", Int32Array.of(length - 1), [1]),
      total_length: new Tensor("int32", Int32Array.of(length), []),
      positions: new Tensor("int64", BigInt64Array.from(positions), [count]),
      layers_at: new Tensor("int64", BigInt64Array.from(layersAt, BigInt), [layersAt.length]),
    });
    return { logits: found.logits.data, tensors: Object.fromEntries(this.names.map((name) => [name, found[`new_${name}`]])) };
  }

  // Read one id, and give the logits after it as the last norm and the head read each layer's state: of the embedding, then after
  // each layer, the last of which are the step's own.
  async readLayers(id, cache) {
    const { logits } = await this.read([id], cache, 1, [0]);
    const size = this.facts.vocabularySize;
    const rows = Array.from({ length: this.facts.layers + 1 }, (_, row) => logits.subarray(row * size, (row + 1) * size));
    return [...rows.slice(1), rows[0]];
  }

  // The same for a prompt of any length, in pieces, so that it can be stopped between two.
  async readAll(ids, cache, check) {
    let read = { logits: null, cache };
    for (let at = 0; at < ids.length; at += this.facts.maxRead) {
      await check();
      read = await this.read(ids.slice(at, at + this.facts.maxRead), read.cache);
    }
    return read;
  }

  // The logits before each id of a text that comes after others.
  async *rowsBefore(start, ids, check) {
    const size = this.facts.vocabularySize;
    const unread = [start.at(-1), ...ids.slice(0, -1)];
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
