// The engine of a page that has no server: it fetches the model, and writes runs as JSON Lines. Owns what is going on, one thing at a
// time. The page speaks to it in messages { kind, … }: see assets/browser/engine_client.js, which is the other end.

import { search } from "./beam.js";
import { DownloadError, download, forgetOthers, joined, keptBytes } from "./download.js";
import { comparison, rowsOf, stepTime } from "./gpu_check.js";
import { GpuNetwork, findAdapter } from "./gpu_network.js";
import { Network, threadsHere } from "./network.js";
import { PrefixCache } from "./prefix_cache.js";
import { Stopped, decode, score } from "./run.js";
import { scorePrompt } from "./prompt_scores.js";
import { Refusal, say, takeTexts } from "./sentences.js";
import { Vocabulary } from "./tokens.js";
import { why } from "./why.js";

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
const WRITERS = { run: decode, score, beam: search, prompt: scorePrompt, why };

let engine = null;
let downloading = null; // an AbortController
let stopped = 0; // no run up to this id is wanted any more
let ended = Promise.resolve(); // of the run before, which hears of its end at its next step

const post = (kind, more = {}) => self.postMessage({ kind, ...more });

const inTurn = (work) => { ended = ended.then(work); };

const hears = {
  look: async ({ facts }) => {
    const files = filesOf(facts, packs());
    const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
    post("looked", { here: await keptBytes(files, BASE), total, isSmall: packs() });
  },
  load: async (message) => {
    takeTexts(message.words);
    if (!engine && !downloading) await load(message);
  },
  pause: () => downloading?.abort(),
  ...Object.fromEntries(Object.keys(WRITERS).map((kind) => [kind, (message) => inTurn(() => write(message))])),
  stop: ({ id }) => { stopped = id; },
  // What WebGPU has to say too, and whether it does: see assets/browser/gpu_trial.js.
  answer: (message) => inTurn(() => answer(message)),
  compare: (message) => inTurn(() => compare(message)),
  fault: ({ fault }) => { engine.says = saysOf(engine.network, engine.facts, fault); },
};

self.addEventListener("message", ({ data }) => hears[data.kind](data));

// A device that says how little memory it has, or a telephone that does not say it.
function packs() {
  const said = navigator.deviceMemory;
  return said === undefined ? /iPhone|iPad|Android/.test(navigator.userAgent) : said <= SMALL;
}

function filesOf(facts, isPacked) {
  const graphs = isPacked ? [facts.packed] : [facts.packed, facts.unpacked, facts.recipes];
  return [facts.runtime, facts.tokenizer, facts.vocabulary, ...graphs, ...facts.weights.pieces];
}

function filesOnGpu({ webgpu, tokenizer, vocabulary, packed, weights }) {
  return [webgpu.runtime, webgpu.library, tokenizer, vocabulary, packed, ...weights.pieces];
}

// `fault` is why WebGPU does not compute, where it was tried: { reason, values }.
async function load({ facts, limits, device, isForced, fault }) {
  const isOnGpu = device === "webgpu";
  downloading = new AbortController();
  try {
    const adapter = isOnGpu ? await findAdapter() : null;
    if (isOnGpu && !(adapter && (isForced || !adapter.isSoftware))) return post("unfit", { reason: "none", values: {} });
    const isPacked = packs();
    const listed = isOnGpu ? filesOnGpu(facts) : filesOf(facts, isPacked);
    const total = listed.reduce((sum, { bytes }) => sum + bytes, 0);
    const tell = (here) => post("progress", { here, total });
    const contents = await download(listed, BASE, { tell, controller: downloading });
    await forgetOthers([...listed, ...filesOf(facts, isPacked), ...filesOnGpu(facts)], BASE);
    post("unpacking");
    engine = await open({ facts, limits, fault }, listed, contents, isOnGpu ? "webgpu" : isPacked ? "packed" : "unpacked");
    post("ready", { device: engine.says.device });
  } catch (error) {
    if (error instanceof DownloadError) post("failed", { reason: error.reason, file: error.file });
    else post("failed", { reason: "memory", file: "", said: String(error) });
  } finally {
    downloading = null;
  }
}

async function open({ facts, limits, fault }, listed, contents, way) {
  const content = (file) => contents[listed.indexOf(file)];
  const text = (file) => JSON.parse(new TextDecoder().decode(content(file)));
  const vocabulary = new Vocabulary(text(facts.tokenizer), text(facts.vocabulary), facts.firstIds);
  const files = {
    runtime: content(way === "webgpu" ? facts.webgpu.runtime : facts.runtime),
    packed: content(facts.packed),
    unpacked: content(facts.unpacked),
    recipes: content(facts.recipes),
    weights: joined(facts.weights.pieces.map(content)),
  };
  const network = await openNetwork(files, facts, way);
  return { network, vocabulary, facts, limits, says: saysOf(network, facts, fault), prefixCache: new PrefixCache() };
}

async function openNetwork(files, facts, way) {
  if (way === "webgpu") {
    const network = await GpuNetwork.openOnGpu(files, facts, new URL(facts.webgpu.library.path, BASE).href);
    network.device.lost.then(() => post("lost"));
    return network;
  }
  const packed = () => Network.open(files, facts, { unpacks: false });
  // Where there is no memory for float32 after all, there may be for the weights as they are.
  return way === "packed" ? packed() : Network.open(files, facts, { unpacks: true }).catch(packed);
}

// What the header of a run says of where it was written.
function saysOf({ device: gpu, unpacks }, facts, fault, difference = 0) {
  if (gpu) return { device: say("server.browser.device_gpu"), why: say("server.browser.gpu", { difference: difference.toExponential(1) }) };
  const why = [unpacks ? facts.why.unpacked : facts.why.packed, fault && say(FAULTS[fault.reason], fault.values)];
  const device = threadsHere() === 1 ? say("server.browser.device_one") : facts.model.device.replace("{threads}", threadsHere());
  return { device, why: why.filter(Boolean).join("; ") };
}

// What WebAssembly says, and how long a step takes it; where WebGPU is asked for, that does not matter.
async function answer({ isForced }) {
  try {
    const rows = await rowsOf(engine.network, engine.facts.checkedIds);
    post("answered", { rows, milliseconds: isForced ? Infinity : await stepTime(engine.network, engine.facts.checkedIds) });
  } catch (error) {
    post("broken", { id: -1, said: String(error) });
  }
}

async function compare({ rows, milliseconds }) {
  const { network, facts } = engine;
  try {
    const { difference, isTrusted } = comparison(await rowsOf(network, facts.checkedIds), rows);
    if (!isTrusted) return post("unfit", { reason: "differs", values: { difference: difference.toExponential(1) } });
    const ours = milliseconds === Infinity ? 0 : await stepTime(network, facts.checkedIds);
    const [gpu, wasm] = [ours, milliseconds].map((each) => each.toFixed(1));
    if (ours > milliseconds) return post("unfit", { reason: "slower", values: { gpu, wasm } });
    engine.says = saysOf(network, facts, null, difference);
    post("trusted");
  } catch (error) {
    post("unfit", { reason: "failed", values: {}, said: String(error) });
  }
}

// Each step goes out as it is. Between two, and between two pieces of a prompt, the worker hears whether to stop.
async function write({ kind, id, request }) {
  const check = async () => {
    await messagesHeard();
    if (id <= stopped) throw new Stopped();
  };
  try {
    for await (const text of WRITERS[kind](engine, request, check)) post(kind === "why" ? "why" : "line", { id, text });
    post("done", { id });
  } catch (error) {
    if (error instanceof Refusal) post("refused", { id, field: error.field, said: error.said });
    else if (error instanceof Stopped) post("done", { id }); // the page wrote the last line when Stop was pressed
    else post("broken", { id, said: String(error) });
  }
}

// A message to oneself comes after those that came before it. (A timer would take four milliseconds a step.)
const { port1: ear, port2: mouth } = new MessageChannel();

function messagesHeard() {
  return new Promise((heard) => {
    ear.onmessage = heard;
    mouth.postMessage(null);
  });
}
