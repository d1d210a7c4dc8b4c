// The engine of a page that has no server: it fetches the model, and writes runs as JSON Lines. Owns what is going on, one thing at a
// time. The page speaks to it in messages { kind, … }: see assets/browser/engine_client.js, which is the other end.

import { search } from "./beam.js";
import { DownloadError, download, forgetOthers, joined, keptBytes } from "./download.js";
import { Network, threadsHere } from "./network.js";
import { PrefixCache } from "./prefix_cache.js";
import { Stopped, decode, score } from "./run.js";
import { scorePrompt } from "./prompt_scores.js";
import { Refusal, takeTexts } from "./sentences.js";
import { Vocabulary } from "./tokens.js";
import { why } from "./why.js";

const BASE = new URL("../", import.meta.url).href;
const SMALL = 4; // GB: a device with no more keeps its weights packed
const WRITERS = { run: decode, score, beam: search, prompt: scorePrompt, why };

let engine = null;
let downloading = null; // an AbortController
let stopped = 0; // no run up to this id is wanted any more
let ended = Promise.resolve(); // of the run before, which hears of its end at its next step

const post = (kind, more = {}) => self.postMessage({ kind, ...more });

const hears = {
  look: async ({ facts }) => {
    const files = filesOf(facts, packs());
    const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
    post("looked", { here: await keptBytes(files, BASE), total, isSmall: packs() });
  },
  load: async ({ facts, limits, words }) => {
    takeTexts(words);
    if (!engine && !downloading) await load(facts, limits);
  },
  pause: () => downloading?.abort(),
  run: (message) => { ended = ended.then(() => write(message)); },
  score: (message) => { ended = ended.then(() => write(message)); },
  prompt: (message) => { ended = ended.then(() => write(message)); },
  beam: (message) => { ended = ended.then(() => write(message)); },
  why: (message) => { ended = ended.then(() => write(message)); },
  stop: ({ id }) => { stopped = id; },
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

async function load(facts, limits) {
  downloading = new AbortController();
  try {
    const isPacked = packs();
    const listed = filesOf(facts, isPacked);
    const total = listed.reduce((sum, { bytes }) => sum + bytes, 0);
    const tell = (here) => post("progress", { here, total });
    const contents = await download(listed, BASE, { tell, controller: downloading });
    await forgetOthers(listed, BASE);
    post("unpacking");
    engine = await open(facts, limits, listed, contents, isPacked);
    post("ready", { device: engine.says.device });
  } catch (error) {
    if (error instanceof DownloadError) post("failed", { reason: error.reason, file: error.file });
    else post("failed", { reason: "memory", file: "", said: String(error) });
  } finally {
    downloading = null;
  }
}

async function open(facts, limits, listed, contents, isPacked) {
  const content = (file) => contents[listed.indexOf(file)];
  const text = (file) => JSON.parse(new TextDecoder().decode(content(file)));
  const vocabulary = new Vocabulary(text(facts.tokenizer), text(facts.vocabulary), facts.firstIds);
  const files = {
    runtime: content(facts.runtime),
    packed: content(facts.packed),
    unpacked: content(facts.unpacked),
    recipes: content(facts.recipes),
    weights: joined(facts.weights.pieces.map(content)),
  };
  const packed = () => Network.open(files, facts, { unpacks: false });
  // Where there is no memory for float32 after all, there may be for the weights as they are.
  const network = isPacked ? await packed() : await Network.open(files, facts, { unpacks: true }).catch(packed);
  const device = facts.model.device.replace("{threads}", threadsHere());
  const says = { device, why: network.unpacks ? facts.why.unpacked : facts.why.packed };
  return { network, vocabulary, facts, limits, says, prefixCache: new PrefixCache() };
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
