// Why a step picked its token, as decoding/questions/logit_lens.py and decoding/questions/leave_one_out.py answer it: a lens on the step, then each part of the
// text before it left out in turn. Writes lines of the run's JSON Lines. Knows ids and records; no page.

import { NotANumber, readTokens } from "./scores.js";
import { Refusal } from "./sentences.js";

/** @import { Candidate, Header, Step } from "../../panel/core/run.js" */
/** @import { Token } from "../../panel/core/tokens.js" */
/** @import { LeaveOneOut, LeftOut, Lens } from "../../panel/core/why.js" */
/** @import { WhyQuestion } from "../messages.js" */
/** @import { Check, KvCache } from "./network.js" */
/** @import { Engine } from "./run.js" */
/** @import { TokenScore } from "./scores.js" */
/** @import { Vocabulary } from "./tokens.js" */

const LEFT_OUT = 64; // tokens before the step, unless more are asked for

/**
 * @param {Engine} engine
 * @param {WhyQuestion} asked
 * @param {Check} check
 * @returns {AsyncGenerator<string>}
 */
export async function* why(engine, asked, check) {
  const [first, ...lines] = asked.run.trimEnd().split("\n").map((text) => JSON.parse(text));
  /** @type {Header} */
  const header = first;
  /** @type {Step[]} */
  const steps = lines.filter((record) => "index" in record);
  const step = steps[asked.step];
  const tokens = [...header.prompt_tokens, ...steps.slice(0, asked.step).map(({ picked }) => picked)];
  if (!step || step.picked.token_id < 0 || tokens.length === 0) throw new Refusal("forced", "server.why_token.no_ids");
  const ids = tokens.map(({ token_id: id }) => id);
  const { cache } = await engine.network.readAll(ids.slice(0, -1), engine.network.emptyCache(), check); // for both questions
  yield line({ lens: await lensOn(engine, step, ids[ids.length - 1], cache, asked) });
  for await (const answer of leaveOut(engine, step, tokens, cache, asked, check)) yield line({ leave_one_out: answer });
}

/**
 * @param {Engine} engine
 * @param {Step} step
 * @param {number} last the id before the step
 * @param {KvCache} cache of the ids before that
 * @param {WhyQuestion} asked
 * @returns {Promise<Lens>}
 */
async function lensOn({ network, vocabulary }, step, last, cache, { against }) {
  const rows = await network.readLayers(last, cache);
  const leaders = rows.map(leaderOf);
  const compared = step.candidates.map(({ token_id: id }) => id).filter((id) => id === against);
  const followed = [...new Set([step.picked.token_id, ...compared, ...leaders.toReversed()])];
  const layers = rows.map((logits, n) => {
    const [first, ...others] = scoresOf(logits, [leaders[n], ...followed]);
    return { leader: candidate(vocabulary, leaders[n], first), logprobs: others.map(({ logprob }) => logprob), ranks: others.map(({ rank }) => rank) };
  });
  return { step: step.index, tokens: followed.map((id) => vocabulary.token(id)), layers };
}

/**
 * The answer as far as it has come, after each part.
 * @param {Engine} engine
 * @param {Step} step
 * @param {Token[]} tokens those before the step
 * @param {KvCache} whole of all of them but the last
 * @param {WhyQuestion} asked
 * @param {Check} check
 * @returns {AsyncGenerator<LeaveOneOut>}
 */
async function* leaveOut({ network, vocabulary, facts }, step, tokens, whole, { by, against, last = LEFT_OUT }, check) {
  const ids = tokens.map(({ token_id: id }) => id);
  const begin = ids[0] === facts.beginningId ? 1 : 0;
  const spans = partsOf(tokens.slice(begin), by).map(([first, count]) => [first + begin, count]);
  const wanted = spans.filter(([first, count]) => first + count > ids.length - last && count < ids.length);
  const reasonForSeveralTokens = partsOf(tokens, "tokens").length === 1 ? "one_character" : "one_word";
  const reason = ids.length > 1 ? reasonForSeveralTokens : "nothing";
  if (wanted.length === 0) throw new Refusal("forced", `server.why_token.${reason}`, { step: step.index + 1 });
  const other = step.candidates.find(({ token_id: id }) => id === against) ?? null;
  /** @type {LeaveOneOut} */
  const answer = { step: step.index, by, picked: step.picked, parts: [], ...(other ? { against: other } : {}) };
  for (const [first, count] of wanted) {
    const after = ids.slice(first + count);
    const start = after.length ? first : first - 1; // something has to be read
    const { logits } = await network.readAll([...ids.slice(start, first), ...after], network.cropped(whole, start), check);
    const leading = leaderOf(logits);
    const [pick, instead, versus] = scoresOf(logits, [step.picked.token_id, leading, ...(other ? [other.token_id] : [])]);
    /** @type {LeftOut} */
    const part = { first, count, logprob: pick.logprob, rank: pick.rank, instead: candidate(vocabulary, leading, instead) };
    answer.parts.push(other ? { ...part, against_logprob: versus.logprob } : part);
    yield answer;
  }
}

/**
 * The scores of some tokens. Throws Refusal for logits that are no distribution.
 * @param {Float32Array} logits
 * @param {number[]} ids
 * @returns {TokenScore[]}
 */
function scoresOf(logits, ids) {
  try {
    return readTokens(logits, ids);
  } catch (error) {
    throw error instanceof NotANumber ? new Refusal("forced", "server.model.nan") : error;
  }
}

/** @param {Float32Array} logits */
function leaderOf(logits) {
  let leader = 0;
  for (let id = 1; id < logits.length; id++) if (logits[id] > logits[leader]) leader = id;
  return leader;
}

// ---- the parts of a text: decoding/record/why.py once more

// Letters and digits with their marks, and the sign within a number. Each Chinese character or kana is a word of its own. A single Hangul letter
// is not, though its number in Unicode lies between those of kana and of Chinese characters.
const WORD = /(?:(?:(?![\u3040-\u3130\u318f-\u9fff])[\p{L}\p{N}'\u2019])[\p{M}\u200c\u200d]*|(?<=\p{Nd})[.,](?=\p{Nd}))+|\S[\p{M}\u200c\u200d]+/gu;

/**
 * The first token of each part, and how many it has.
 * @param {Token[]} tokens
 * @param {"tokens" | "words"} by
 * @returns {[number, number][]}
 */
export function partsOf(tokens, by) {
  /** @type {{ part: [number, number], bytes: number[] }[]} */
  const parts = [];
  tokens.forEach((token, n) => {
    const bytes = token.bytes?.match(/../g)?.map((digits) => parseInt(digits, 16)) ?? [...new TextEncoder().encode(token.text)];
    const before = parts.at(-1);
    // One that begins in the middle of a character (RFC 3629).
    if (before && token.bytes && bytes[0] >> 6 === 2) {
      before.part[1] += 1;
      before.bytes.push(...bytes);
    } else parts.push({ part: [n, 1], bytes });
  });
  if (by === "tokens") return parts.map(({ part }) => part);
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const texts = parts.map(({ bytes }) => decoder.decode(Uint8Array.from(bytes)));
  const spans = Array.from(texts.join("").matchAll(WORD), ({ index, 0: { length } }) => [index, index + length]);
  /** @type {[number, number][]} */
  const words = [];
  let begin = 0;
  parts.forEach(({ part }, n) => {
    const last = words.at(-1);
    while (spans.length && spans[0][1] <= begin) spans.shift();
    if (last && spans.length && spans[0][0] < begin) last[1] += part[1];
    else words.push(part);
    begin += texts[n].length;
  });
  return words;
}

/**
 * @param {Vocabulary} vocabulary
 * @param {number} id
 * @param {TokenScore} score
 * @returns {Candidate}
 */
function candidate(vocabulary, id, { logprob, rank }) {
  const { text, bytes } = vocabulary.token(id);
  return { token_id: id, text, probability: Math.exp(logprob), logprob, rank, ...(bytes === undefined ? {} : { bytes }) };
}

/** @param {object} record */
function line(record) {
  return JSON.stringify(record).replaceAll("<", "\\u003c");
}
