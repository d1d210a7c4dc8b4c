// The scores of a prompt's own tokens, as decoding/questions/prompt_scores.py has them: one line of JSON Lines. Knows ids.

import { promptIds } from "./requests.js";
import { line, scoresOrNull } from "./run.js";
import { Refusal } from "./sentences.js";

/** @import { Header, PromptScore } from "../../panel/core/run.js" */
/** @import { PromptQuestion } from "../messages.js" */
/** @import { Check } from "./network.js" */
/** @import { Engine } from "./run.js" */

/**
 * @param {Engine} engine
 * @param {PromptQuestion} question
 * @param {Check} check
 * @returns {AsyncGenerator<string>}
 */
export async function* scorePrompt({ vocabulary, facts, network, limits }, { run }, check) {
  /** @type {Header & { prompt_token_ids: number[] }} */
  const { prompt, prompt_token_ids: ids } = JSON.parse(run.split("\n", 1)[0]);
  if (ids.join() !== promptIds(prompt, vocabulary, facts).join()) throw new Refusal("forced", "server.altered.ids", { model: facts.model.id });
  if (ids.length < 2) throw new Refusal("prompt", "server.prompt.alone");
  const first = Math.max(1, ids.length - limits.textTokens);
  /** @type {PromptScore[]} */
  const scores = [];
  for await (const logits of network.rowsBefore(ids.slice(0, first), ids.slice(first), check)) {
    const read = scoresOrNull(logits, 1, ids[first + scores.length]);
    if (!read?.picked) throw new Refusal("prompt", "server.model.nan");
    scores.push({ logprob: read.picked.logprob, rank: read.picked.rank, entropy: read.entropy });
  }
  yield line({ prompt_scores: scores });
}
