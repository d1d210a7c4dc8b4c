// The model's graph in onnxruntime-web over WebGPU: what Network does, with the four-bit weights, the keys and the values in the GPU's
// memory. Owns those keys and values: a cache is the ids that were read, and what is no longer kept of them is read again. Its numbers
// are trusted only after gpu_check.js. Knows no loop.

import { Network } from "./network.js";

const ERRORS = ["validation", "out-of-memory", "internal"];
const MOST_TEXTS = 24; // eight beams, the eight that they come from, and some
const MOST_BYTES = 2 ** 27; // of their keys and values; the two texts that were used last are always kept

// The GPU that this browser offers, or null. A software adapter is a CPU behind WebGPU: it is slower than WebAssembly.
export async function findAdapter() {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" }).catch(() => null);
  return adapter ? { isSoftware: Boolean(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter) } : null;
}

export class GpuNetwork extends Network {
  #texts = new KeptTexts();

  // `files`: the runtime, the packed graph and the weights, as ArrayBuffers; `library` is the address of onnxruntime-web's script.
  static async openOnGpu(files, facts, library) {
    const ort = await import(library);
    Object.assign(ort.env.wasm, { wasmBinary: files.runtime, numThreads: 1 });
    const externalData = [{ path: facts.weights.name, data: new Uint8Array(files.weights) }];
    const network = new GpuNetwork(ort, null, facts, false);
    const preferredOutputLocation = Object.fromEntries(network.names.map((name) => [`new_${name}`, "gpu-buffer"]));
    const options = { executionProviders: ["webgpu"], externalData, preferredOutputLocation, logSeverityLevel: 3 };
    network.session = await ort.InferenceSession.create(new Uint8Array(files.packed), options);
    network.device = await ort.env.webgpu.device;
    return network;
  }

  emptyCache() {
    return { length: 0, ids: [] };
  }

  cropped(cache, length) {
    return { length, ids: cache.ids.slice(0, length) };
  }

  async read(ids, cache, count = 1, layersAt = []) {
    const past = await this.#tensorsOf(cache.ids);
    const { logits, tensors } = await this.#checked(() => this.run(ids, past, cache.length, count, layersAt));
    const read = [...cache.ids, ...ids];
    this.#texts.keep({ ids: read, tensors });
    return { logits, cache: { length: read.length, ids: read } };
  }

  async #tensorsOf(ids) {
    if (ids.length === 0) return super.emptyCache().tensors;
    if (!this.#texts.find(ids)) await this.readAll(ids, this.emptyCache(), () => {});
    const found = this.#texts.find(ids);
    if (found.ids.length === ids.length) return found.tensors;
    const tensors = await this.#checked(() => this.#crop(found, ids.length));
    this.#texts.keep({ ids, tensors });
    return tensors;
  }

  // Keys and values of a text's first ids, copied within the GPU.
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

  // After an error WebGPU goes on and returns whatever its buffers hold, so each pass asks whether there was one.
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
  #texts = [];

  // The shortest text that begins with these ids.
  find(ids) {
    let found = null;
    for (const text of this.#texts) {
      if (text.ids.length < ids.length || (found && found.ids.length <= text.ids.length)) continue;
      if (ids.every((id, n) => text.ids[n] === id)) found = text;
    }
    if (found) this.#texts = [...this.#texts.filter((text) => text !== found), found];
    return found;
  }

  keep(text) {
    this.#texts.push(text);
    let bytes = this.#texts.reduce((sum, each) => sum + bytesOf(each), 0);
    while (this.#texts.length > 2 && (this.#texts.length > MOST_TEXTS || bytes > MOST_BYTES)) {
      const left = this.#texts.shift();
      bytes -= bytesOf(left);
      for (const tensor of Object.values(left.tensors)) tensor.dispose();
    }
  }
}

function bytesOf({ tensors }) {
  return Object.values(tensors).reduce((sum, { size }) => sum + size * Float32Array.BYTES_PER_ELEMENT, 0);
}
