// What a browser has to know of a model, as decoding/site/model_files.py writes it: where its files are, and its sizes. tests/site/test_build.py
// holds the written facts to these types.

import type { Model } from "../panel/core/run.js";

/** A file to fetch: its path from the page's base, its size, and its SHA-256 in base64. */
export interface ModelFile {
  path: string;
  bytes: number;
  sha256: string;
}

export interface ModelFacts {
  /** As a run's header has it; its device is a sentence that has a place for the number of threads. */
  model: Required<Omit<Model, "why" | "device">> & { device: string };
  /** Why the weights are unpacked, or are not, in a sentence for a run's header. */
  why: { unpacked: string; packed: string };
  vocabularySize: number;
  context: number;
  endIds: number[];
  beginningId: number | null;
  /** Ids in front of every prompt. */
  firstIds: number[];
  layers: number;
  kvHeads: number;
  headWidth: number;
  /** The most ids of one pass. */
  maxRead: number;
  /** `name`: how the graphs call the file that the pieces make together. */
  weights: { name: string; pieces: ModelFile[] };
  packed: ModelFile;
  unpacked: ModelFile;
  recipes: ModelFile;
  tokenizer: ModelFile;
  vocabulary: ModelFile;
  runtime: ModelFile;
  webgpu: { runtime: ModelFile; library: ModelFile };
  /** After these, WebGPU has to compute what WebAssembly computes. */
  checkedIds: number[];
}
