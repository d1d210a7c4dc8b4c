// The engine of a page that has no server: it fetches the model, and writes runs as JSON Lines. Owns what is going on, one thing at a
// time. The page speaks to it in the messages of assets/browser/messages.d.ts; assets/browser/engine_client.js is the other end.

import { search } from "./beam.js";
import { DownloadError, deleteOthers, download, joinPieces, keptBytes } from "./download.js";
import { compareRows, rowsOf, stepTime } from "./gpu_check.js";
import { GpuNetwork, findAdapter } from "./gpu_network.js";
import { Network, threadsHere } from "./network.js";
import { PrefixCache } from "./prefix_cache.js";
import { Stopped, decode, score } from "./run.js";
import { scorePrompt } from "./prompt_scores.js";
import { Refusal, sentence, setSentences } from "./sentences.js";
import { Vocabulary } from "./tokens.js";
import { why } from "./why.js";

/** @import { FromWorker, GpuFault, LoadMessage, QuestionMessage, Reference, ToWorker } from "../messages.js" */
/** @import { ModelFacts, ModelFile } from "../model_facts.js" */
/** @import { Check, NetworkFiles, UnpackedFiles } from "./network.js" */
/** @import { ComputedOn, Engine } from "./run.js" */

const BASE = new URL("../", import.meta.url).href;
const SMALL = 4; // GB: a device with no more keeps its weights packed
// Why WebAssembly computes where WebGPU was tried, as a run's header says it.
const FAULTS = {
  none: "server.browser.gpu_none",
  failed: "server.browser.gpu_failed",
  differs: "server.browser.gpu_differs",
  slower: "server.browser.gpu_slower",
  lost: "server.browser.gpu_lost",
};

let engine = /** @type {Engine | null} */ (null);
let downloading = /** @type {AbortController | null} */ (null);
let stopped = 0; // no run up to this id is wanted any more
let ended = Promise.resolve(); // of the run before, which learns at its next step that it is to end

/** @param {FromWorker} message */
const post = (message) => self.postMessage(message);

/** @param {(loaded: Engine) => Promise<void>} work what waits for the run before; the page asks for none until the model is loaded */
function runInTurn(work) {
  ended = ended.then(() => (engine ? work(engine) : undefined));
}

self.addEventListener("message", ({ data }) => receive(data));

/** @param {ToWorker} message */
function receive(message) {
  switch (message.kind) {
    case "inspect": return inspect(message.facts);
    case "load": return load(message);
    case "pause": return downloading?.abort();
    case "stop":
      stopped = message.id;
      return;
    // What WebGPU has to compute too, and whether it does: see assets/browser/gpu_trial.js.
    case "reference": return runInTurn((loaded) => makeReference(loaded, message.isForced));
    case "compare": return runInTurn((loaded) => compareWithReference(loaded, message));
    case "fault":
      if (engine) engine.computedOn = describeDevice(engine.network, engine.facts, message.fault);
      return;
    default: return runInTurn((loaded) => answerQuestion(loaded, message));
  }
}

/** @param {ModelFacts} facts */
async function inspect(facts) {
  const isSmall = keepsPacked();
  const files = filesOf(facts, isSmall);
  post({ kind: "inspected", here: await keptBytes(files, BASE), total: sizeOf(files), isSmall });
}

// A device that says how little memory it has, or a telephone that does not say it.
function keepsPacked() {
  const memory = navigator.deviceMemory;
  return memory === undefined ? /iPhone|iPad|Android/.test(navigator.userAgent) : memory <= SMALL;
}

/** @param {ModelFile[]} files */
function sizeOf(files) {
  return files.reduce((sum, { bytes }) => sum + bytes, 0);
}

/**
 * @param {ModelFacts} facts
 * @param {boolean} isPacked
 * @returns {ModelFile[]}
 */
function filesOf(facts, isPacked) {
  const graphs = isPacked ? [facts.packed] : [facts.packed, facts.unpacked, facts.recipes];
  return [facts.runtime, facts.tokenizer, facts.vocabulary, ...graphs, ...facts.weights.pieces];
}

/**
 * @param {ModelFacts} facts
 * @returns {ModelFile[]}
 */
function filesOnGpu({ webgpu, tokenizer, vocabulary, packed, weights }) {
  return [webgpu.runtime, webgpu.library, tokenizer, vocabulary, packed, ...weights.pieces];
}

/** @param {LoadMessage} message */
async function load(message) {
  setSentences(message.sentences);
  if (engine || downloading) return;
  const { facts } = message;
  const isOnGpu = message.device === "webgpu";
  downloading = new AbortController();
  try {
    const adapter = isOnGpu ? await findAdapter() : null;
    if (isOnGpu && !(adapter && (message.isForced || !adapter.isSoftware))) return post({ kind: "unfit", reason: "none", values: {} });
    const isPacked = keepsPacked();
    const listed = isOnGpu ? filesOnGpu(facts) : filesOf(facts, isPacked);
    const total = sizeOf(listed);
    const onProgress = (/** @type {number} */ here) => post({ kind: "progress", here, total });
    const contents = await download(listed, BASE, { onProgress, controller: downloading });
    await deleteOthers([...listed, ...filesOf(facts, isPacked), ...filesOnGpu(facts)], BASE);
    post({ kind: "unpacking" });
    engine = await openEngine(message, listed, contents, isOnGpu ? "webgpu" : isPacked ? "packed" : "unpacked");
    post({ kind: "ready" });
  } catch (error) {
    if (error instanceof DownloadError) post({ kind: "failed", reason: error.reason, file: error.file });
    else post({ kind: "failed", reason: "memory", file: "", error: String(error) });
  } finally {
    downloading = null;
  }
}

/**
 * @param {LoadMessage} message
 * @param {ModelFile[]} listed
 * @param {ArrayBuffer[]} contents of these
 * @param {"webgpu" | "packed" | "unpacked"} way
 * @returns {Promise<Engine>}
 */
async function openEngine(message, listed, contents, way) {
  const { facts, limits } = message;
  const content = (/** @type {ModelFile} */ file) => contents[listed.indexOf(file)];
  const json = (/** @type {ModelFile} */ file) => JSON.parse(new TextDecoder().decode(content(file)));
  const vocabulary = new Vocabulary(json(facts.tokenizer), json(facts.vocabulary), facts.firstIds);
  const files = {
    runtime: content(way === "webgpu" ? facts.webgpu.runtime : facts.runtime),
    packed: content(facts.packed),
    weights: joinPieces(facts.weights.pieces.map(content)),
  };
  const unpacked = way === "unpacked" ? { unpacked: content(facts.unpacked), recipes: content(facts.recipes) } : null;
  const network = await (way === "webgpu" ? openOnGpu(files, facts) : openNetwork(files, facts, unpacked));
  const computedOn = describeDevice(network, facts, message.device === "wasm" ? message.fault : null);
  return { network, vocabulary, facts, limits, computedOn, prefixCache: new PrefixCache() };
}

/**
 * @param {NetworkFiles} files
 * @param {ModelFacts} facts
 * @returns {Promise<Network>}
 */
async function openOnGpu(files, facts) {
  const network = await GpuNetwork.openOnGpu(files, facts, new URL(facts.webgpu.library.path, BASE).href);
  network.device.lost.then(() => post({ kind: "lost" }));
  return network;
}

/**
 * Where there is no memory for float32 after all, there may be for the weights as they are.
 * @param {NetworkFiles} files
 * @param {ModelFacts} facts
 * @param {UnpackedFiles | null} unpacked
 * @returns {Promise<Network>}
 */
function openNetwork(files, facts, unpacked) {
  const opened = Network.open(files, facts, unpacked);
  return unpacked ? opened.catch(() => Network.open(files, facts, null)) : opened;
}

/**
 * What the header of a run says of where it was written.
 * @param {Network} network
 * @param {ModelFacts} facts
 * @param {GpuFault | null} fault
 * @param {number} [difference] of WebGPU's probabilities from WebAssembly's
 * @returns {ComputedOn}
 */
function describeDevice(network, facts, fault, difference = 0) {
  if (network instanceof GpuNetwork) {
    return { device: sentence("server.browser.device_gpu"), why: sentence("server.browser.gpu", { difference: difference.toExponential(1) }) };
  }
  const reasons = [network.unpacks ? facts.why.unpacked : facts.why.packed, fault && sentence(FAULTS[fault.reason], fault.values)];
  const threads = threadsHere();
  const device = threads === 1 ? sentence("server.browser.device_one") : facts.model.device.replace("{threads}", String(threads));
  return { device, why: reasons.filter(Boolean).join("; ") };
}

/**
 * What WebAssembly computes, and how long a step takes it; where WebGPU is asked for, that does not matter.
 * @param {Engine} engine
 * @param {boolean} isForced
 */
async function makeReference({ network, facts }, isForced) {
  try {
    const rows = await rowsOf(network, facts.checkedIds);
    post({ kind: "reference", rows, milliseconds: isForced ? Infinity : await stepTime(network, facts.checkedIds) });
  } catch (error) {
    post({ kind: "broken", id: -1, error: String(error) });
  }
}

/**
 * @param {Engine} loaded
 * @param {Reference} reference
 */
async function compareWithReference(loaded, { rows, milliseconds }) {
  const { network, facts } = loaded;
  try {
    const { difference, isTrusted } = compareRows(await rowsOf(network, facts.checkedIds), rows);
    if (!isTrusted) return post({ kind: "unfit", reason: "differs", values: { difference: difference.toExponential(1) } });
    const ours = milliseconds === Infinity ? 0 : await stepTime(network, facts.checkedIds);
    const [gpu, wasm] = [ours, milliseconds].map((each) => each.toFixed(1));
    if (ours > milliseconds) return post({ kind: "unfit", reason: "slower", values: { gpu, wasm } });
    loaded.computedOn = describeDevice(network, facts, null, difference);
    post({ kind: "trusted" });
  } catch (error) {
    post({ kind: "unfit", reason: "failed", values: {}, error: String(error) });
  }
}

/**
 * Each step goes out as it is. Between two, and between two pieces of a prompt, the worker learns whether to stop.
 * @param {Engine} loaded
 * @param {QuestionMessage} message
 */
async function answerQuestion(loaded, message) {
  const { kind, id } = message;
  const check = async () => {
    await pendingMessages();
    if (id <= stopped) throw new Stopped();
  };
  try {
    for await (const text of linesOf(loaded, message, check)) post({ kind: kind === "why" ? "why" : "line", id, text });
    post({ kind: "done", id });
  } catch (error) {
    if (error instanceof Refusal) post({ kind: "refused", id, field: error.field, message: error.reason });
    else if (error instanceof Stopped) post({ kind: "done", id }); // the page wrote the last line when Stop was pressed
    else post({ kind: "broken", id, error: String(error) });
  }
}

/**
 * @param {Engine} loaded
 * @param {QuestionMessage} message
 * @param {Check} check
 * @returns {AsyncGenerator<string>}
 */
function linesOf(loaded, message, check) {
  switch (message.kind) {
    case "run": return decode(loaded, message.question, check);
    case "score": return score(loaded, message.question, check);
    case "beam": return search(loaded, message.question, check);
    case "prompt": return scorePrompt(loaded, message.question, check);
    case "why": return why(loaded, message.question, check);
  }
}

// A message to oneself comes after those that came before it. (A timer would take four milliseconds a step.)
const { port1: receiver, port2: sender } = new MessageChannel();

function pendingMessages() {
  return new Promise((received) => {
    receiver.onmessage = received;
    sender.postMessage(null);
  });
}
