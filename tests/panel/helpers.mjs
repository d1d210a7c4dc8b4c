// What the unit tests share: the panel's modules, with the page's own texts, limits and examples, and runs made by hand.

import { readFileSync } from "node:fs";

export const load = (name) => import(`${process.env.PANEL}/${name}`);

const { TEXTS, provide } = await load("core/constants.js");
const { emptyRun, readLines } = await load("core/run.js");
provide(JSON.parse(readFileSync(process.env.PANEL_DATA, "utf8")));
globalThis.document ??= { documentElement: {} }; // of a page, `texts.setLanguage` names the language

export { TEXTS };

const MODEL = { id: "tiny", revision: "r", dtype: "float32", device: "cpu", engine: "fake" };

// A run of picked tokens: each a text, or { text, bytes, id, p }. `rest` goes into the header.
export function runOf(tokens, { prompt = "a", model = {}, stop = "steps", forced = [], ...rest } = {}) {
  const header = { format: "greedyscope", version: 1, model: { ...MODEL, ...model }, prompt, prompt_tokens: [], max_new_tokens: tokens.length, top_k: 2, ...rest };
  const steps = tokens.map((token, index) => {
    const { text, bytes, id = text.length, p = 0.5 } = typeof token === "string" ? { text: token } : token;
    const picked = { token_id: id, text, bytes, probability: p, logprob: p > 0 ? Math.log(p) : null, rank: 0 };
    const other = { token_id: 99, text: " other", probability: p / 2, logprob: Math.log(p / 2), rank: 1 };
    return { index, picked, forced: forced.includes(index), candidates: [picked, other], rest: 1 - 1.5 * p, entropy: 1, margin: p / 2 };
  });
  const end = stop ? [{ stop_reason: stop }] : [];
  const lines = [header, ...steps, ...end].map((line) => `${JSON.stringify(line)}\n`).join("");
  return readLines(emptyRun(), lines);
}
