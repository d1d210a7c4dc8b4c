// The scores of a prompt's own tokens, as decoding/questions/prompt_scores.py has them: one line of JSON Lines. Knows ids.

import { promptIds } from "./requests.js";
import { line, scoresOr } from "./run.js";
import { Refusal } from "./sentences.js";

export async function* scorePrompt({ vocabulary, facts, network, limits }, { run }, check) {
  const { prompt, prompt_token_ids: ids } = JSON.parse(run.split("\n", 1)[0]);
  if (ids.join() !== promptIds(prompt, vocabulary, facts).join()) throw new Refusal("forced", "server.altered.ids", { model: facts.model.id });
  if (ids.length < 2) throw new Refusal("prompt", "server.prompt.alone");
  const first = Math.max(1, ids.length - limits.textTokens);
  const scores = [];
  for await (const logits of network.rowsBefore(ids.slice(0, first), ids.slice(first), check)) {
    const read = scoresOr(logits, 1, ids[first + scores.length]);
    if (!read) throw new Refusal("prompt", "server.model.nan");
    scores.push({ logprob: read.picked.logprob, rank: read.picked.rank, entropy: read.entropy });
  }
  yield line({ prompt_scores: scores });
}
