// Whether a text is a run: the fields of decoding/record/fields.py, and of decoding/record/consistency.py what a sum or a comparison
// finds. What only entropies and log sums give away, `python -m decoding check` finds. The sentences are the library's.

import { LIMITS } from "../panel/core/constants.js";
import { lengthOf, Refused } from "../panel/core/too_large.js";
import { texts } from "../panel/core/texts.js";

/** @import { Candidate, End, Header, Loop, Step } from "../panel/core/run.js" */
/** @import { Values } from "../panel/core/texts.js" */

/** @typedef {(value: unknown) => void} Check throws a Fault for a value that does not fit */

/** @typedef {Record<string, Check>} FieldChecks by the names of the fields */

/** @typedef {Header & { prompt_token_ids: number[] }} FileHeader */

/** @typedef {(ids: number[]) => Loop[]} FindLoops */

class Fault extends Error {
  /**
   * @param {string} key of its text, below "server.read.field."
   * @param {Values} [values]
   * @param {(string | number)[]} [place] the names that lead to the field
   */
  constructor(key, values = {}, place = []) {
    super(key);
    this.key = key;
    this.values = values;
    this.place = place;
  }
}

const STOP_REASONS = ["steps", "end_of_text", "context_full", "stopped", "error"];
const BESIDE = /** @type {const} */ (["beam_step", "prompt_scores", "lens", "leave_one_out"]); // what was asked beside the steps
const SUM = 1e-6; // by so much sums of probabilities may be off

// ---- what a field may hold: each throws a Fault

/** @type {(key: string, values?: Values) => never} */
const fail = (key, values) => { throw new Fault(key, values); };
/** @type {(most: number) => Check} */
const text = (most) => (value) => {
  if (typeof value !== "string") fail("text");
  if (lengthOf(value, most) > most) fail("characters", { count: value.length, most });
  if (!value.isWellFormed()) fail("half");
};
/** @type {(least: number, most: number) => Check} */
const whole = (least, most) => (value) => {
  if (typeof value !== "number" || !Number.isInteger(value) || value < least || value > most) fail("whole", { least, most });
};
/** @type {(least: number, most: number) => Check} */
const real = (least, most) => (value) => { if (typeof value !== "number" || value < least || value > most) fail("number", { least, most }); };
/** @type {(check: Check) => Check} */
const orNull = (check) => (value) => { if (value !== null) check(value); };
/** @type {(wanted: string | number) => Check} */
const fixed = (wanted) => (value) => { if (value !== wanted) fail("fixed", { value: wanted }); };
/** @type {(names: unknown[]) => Check} */
const choice = (names) => (value) => { if (!names.includes(value)) fail("choice", { names: names.join(", ") }); };
/** @type {Check} */
const flag = (value) => { if (typeof value !== "boolean") fail("switch"); };
/** @type {Check} */
const hex = (value) => { if (typeof value !== "string" || !/^([0-9a-fA-F]{2})*$/.test(value)) fail("bytes"); };

/** @type {(most: number, check: Check) => Check} */
const list = (most, check) => (value) => {
  if (!Array.isArray(value)) fail("list");
  if (value.length > most) fail("entries", { count: value.length, most });
  for (const [n, entry] of value.entries()) checkWithin(n, () => check(entry));
};
/** @type {(required: FieldChecks, optional?: FieldChecks) => Check} */
const object = (required, optional = {}) => (value) => {
  if (value === null || typeof value !== "object" || Array.isArray(value)) fail("object");
  for (const name of Object.keys(required)) if (!Object.hasOwn(value, name)) checkWithin(name, () => fail("missing"));
  for (const [name, entry] of Object.entries(value)) {
    const check = Object.hasOwn(required, name) ? required[name] : Object.hasOwn(optional, name) ? optional[name] : () => fail("unknown");
    checkWithin(name.slice(0, 40), () => check(entry));
  }
};

/**
 * @param {string | number} name of the field or the entry that is checked
 * @param {() => void} check
 */
function checkWithin(name, check) {
  try {
    check();
  } catch (fault) {
    if (fault instanceof Fault) fault.place.unshift(name);
    throw fault;
  }
}

// ---- the lines

function lineChecks() {
  const name = text(LIMITS.noteCharacters);
  const id = whole(-1, LIMITS.vocabulary - 1);
  const shown = text(LIMITS.tokenCharacters);
  const candidate = object({ token_id: id, text: shown, probability: real(0, 1), logprob: orNull(real(-1e9, 0)), rank: whole(0, LIMITS.vocabulary - 1) }, { bytes: orNull(hex) });
  const steps = whole(0, LIMITS.textTokens);
  const nats = orNull(real(-1e9, 0));
  const node = object({ parent: whole(0, 2 * LIMITS.beams - 1), token_id: id, text: shown, logprob: nats, rank: whole(0, LIMITS.vocabulary - 1), total: nats }, { bytes: orNull(hex), ended: flag });
  const place = whole(0, LIMITS.promptTokens + LIMITS.textTokens);
  const rank = whole(0, LIMITS.vocabulary - 1);
  const logprob = orNull(real(-1e9, 0));
  const token = object({ token_id: id, text: shown }, { bytes: orNull(hex) });
  /** @type {Check} */
  const pair = (value) => { if (!Array.isArray(value) || value.length !== 2 || !value.every(Number.isFinite)) fail("pair"); };
  const sampling = object({}, { temperature: real(LIMITS.leastTemperature, LIMITS.mostTemperature), top_k: whole(0, LIMITS.vocabulary), top_p: real(0, 1), seed: whole(0, LIMITS.seed), first: whole(0, LIMITS.textTokens - 1) });
  const draw = object({ probabilities: list(LIMITS.choices, real(0, 1)), picked: real(0, 1), kept: whole(1, LIMITS.vocabulary), number: real(0, 1) });
  return {
    header: object({
      format: fixed("greedyscope"),
      version: fixed(1),
      model: object({ id: name, revision: name, dtype: name, device: name, engine: name }, { why: name }),
      prompt: text(LIMITS.promptCharacters),
      prompt_token_ids: list(LIMITS.promptTokens, id),
      prompt_tokens: list(LIMITS.promptTokens, token),
      max_new_tokens: steps,
      top_k: whole(1, LIMITS.choices),
    }, { note: name, remarks: list(LIMITS.remarks, name), past_end: flag, sampling, as_message: flag }),
    step: object({
      index: steps, picked: candidate, forced: flag, candidates: list(LIMITS.choices, candidate), rest: real(0, 1), entropy: orNull(real(-1e9, 1e9)), margin: real(0, 1),
    }, { log_sums: list(LIMITS.logSums, pair), draw, past_end: flag }),
    beam_step: object({ beam_step: steps, beams: list(2 * LIMITS.beams, node) }, { finished: list(LIMITS.beams, pair) }),
    prompt_scores: object({ prompt_scores: list(LIMITS.textTokens, object({ logprob: nats, rank: whole(0, LIMITS.vocabulary - 1), entropy: orNull(real(-1e9, 1e9)) })) }),
    lens: object({ lens: object({ step: steps, tokens: list(LIMITS.lensTokens, token), layers: list(LIMITS.layers + 1, object({ leader: candidate, logprobs: list(LIMITS.lensTokens, logprob), ranks: list(LIMITS.lensTokens, rank) })) }) }),
    leave_one_out: object({
      leave_one_out: object({ step: steps, by: choice(["tokens", "words"]), picked: candidate, parts: list(LIMITS.leftOut, object({ first: place, count: place, logprob, rank, instead: candidate }, { against_logprob: logprob })) }, { against: candidate }),
    }),
    end: object({ stop_reason: choice(STOP_REASONS) }, { message: name, loops: list(LIMITS.textTokens, object({ start: steps, period: steps, repeats: steps })) }),
  };
}

/**
 * Throws Refused, with the line and what is wrong in it, for a text that is no run.
 * @param {string} content
 * @param {FindLoops} findLoops
 */
export function checkRun(content, findLoops) {
  const lines = content.replace(/^\ufeff/, "").replace(/[\r\n]+$/, "").split("\n");
  if (lines.length < 2) throw new Refused(texts.translate("server.read.lines", { count: lines.length }));
  const checks = lineChecks();
  /** @type {(n: number, check: Check) => any} the line's record, as the check lets it through */
  const read = (n, check) => {
    try {
      const record = parseLine(lines[n]);
      check(record);
      return record;
    } catch (fault) {
      if (!(fault instanceof Fault)) throw fault;
      const place = fault.place.join("."), reason = texts.translate(`server.read.field.${fault.key}`, fault.values);
      throw new Refused(texts.translate(place ? "server.read.line" : "server.read.line.whole", { number: n + 1, place, reason }));
    }
  };
  /** @type {FileHeader} */
  const header = read(0, checks.header);
  // After the steps, what was asked beside them: a search's beams, the prompt's scores, and why a step picked its token.
  const count = lines.slice(1, -1).findLastIndex((written) => "index" in fieldsOfLine(written)) + 1;
  let beamSteps = 0;
  for (let n = count + 1; n < lines.length - 1; n++) {
    const fields = fieldsOfLine(lines[n]);
    const kind = BESIDE.find((name) => name in fields) ?? "step";
    const record = read(n, checks[kind]);
    if (kind === "lens" || kind === "leave_one_out") checkWhy(record, count, n + 1);
    const { beam_step: step } = record;
    if (step !== undefined && step !== beamSteps++) {
      const complaint = texts.translate("server.read.wrong.beam_step", { step, number: beamSteps - 1 });
      throw new Refused(texts.translate("server.read.wrong", { number: n + 1, complaint }));
    }
  }
  /** @type {Step[]} */
  const steps = lines.slice(1, count + 1).map((_, n) => {
    const step = read(n + 1, checks.step);
    const complaint = contradictionIn(step, n, header);
    if (complaint) throw new Refused(texts.translate("server.read.wrong", { number: n + 2, complaint }));
    return step;
  });
  if (!lines.at(-1)?.includes('"stop_reason"')) throw new Refused(texts.translate("server.read.cut"));
  const end = read(lines.length - 1, checks.end);
  checkEnd(header, steps, end, lines.length, findLoops);
}

/**
 * A lens or what was left out belongs to a step of the run.
 * @param {Record<"lens" | "leave_one_out", { step: number }>} record one of the two
 * @param {number} count
 * @param {number} number of the line
 */
function checkWhy(record, count, number) {
  const [{ step }] = Object.values(record);
  if (step >= count) throw new Refused(texts.translate("server.read.wrong", { number, complaint: texts.translate("server.read.wrong.why.step", { step }) }));
}

/**
 * @param {string} line
 * @returns {unknown}
 */
function parseLine(line) {
  try {
    return JSON.parse(line);
  } catch {
    return fail("json");
  }
}

/**
 * @param {string} line
 * @returns {object}
 */
function fieldsOfLine(line) {
  try {
    const record = JSON.parse(line);
    return record !== null && typeof record === "object" ? record : {};
  } catch {
    return {};
  }
}

// ---- how the fields fit together

/**
 * @param {Step} step
 * @param {number} n
 * @param {FileHeader} header
 * @returns {string} "" where the step fits
 */
function contradictionIn(step, n, header) {
  /** @type {(key: string, values?: Values) => string} */
  const complaint = (key, values) => texts.translate(`server.read.wrong.${key}`, values);
  const { candidates, picked } = step;
  const probabilities = candidates.map(({ probability }) => probability);
  if (candidates.length === 0) return complaint("pick");
  if (step.index !== n) return complaint("index", { index: step.index, number: n });
  if (candidates.length > header.top_k) return complaint("more", { most: header.top_k });
  if (candidates.some(({ rank }, place) => rank !== place)) return complaint("ranks");
  if (probabilities.some((probability, place) => probability > probabilities[place - 1])) return complaint("order");
  if (Math.abs(probabilities.reduce((sum, each) => sum + each, step.rest) - 1) >= SUM) return complaint("sum");
  if (![...candidates, picked].every(agrees)) return complaint("logprob");
  if (!step.forced && picked.token_id !== candidates[0].token_id) return complaint("forced");
  const wrong = complaintOfDraw(step, header);
  if (wrong) return complaint(wrong);
  if (picked.rank < candidates.length && !isSame(picked, candidates[picked.rank])) return complaint("pick");
  return "";
}

/**
 * How the step was picked, as decoding/record/how_picked.py has it; what a temperature gives is left to `python -m decoding check`.
 * @param {Step} step
 * @param {FileHeader} header
 * @returns {string} the key of what is wrong
 */
function complaintOfDraw({ index, forced, picked, candidates, draw, past_end: passes }, { past_end: pastEnd, sampling }) {
  const draws = sampling !== undefined && index >= (sampling.first ?? 0);
  if (passes && !(pastEnd && forced && picked.rank > 0)) return "past_end";
  if (!draw) return draws && !forced ? "draw.not" : "";
  if (!draws) return "draw.no";
  if (forced !== picked.rank > 0) return "draw.argmax";
  if (draw.probabilities.length !== candidates.length) return "draw.candidates";
  const rest = 1 - draw.probabilities.reduce((sum, each) => sum + each, 0);
  if (rest < -SUM || draw.probabilities.filter((each) => each > 0).length > draw.kept) return "draw.more";
  const fits = picked.rank < candidates.length ? draw.picked === draw.probabilities[picked.rank] : draw.picked <= rest + SUM;
  if (!draw.picked || !fits) return "draw.pick";
  return draw.number >= 1 ? "draw.number" : "";
}

/** @param {Candidate} candidate */
function agrees({ probability, logprob }) {
  return Math.abs(Math.exp(logprob ?? -Infinity) - probability) <= Math.max(SUM * probability, 1e-300);
}

/**
 * @param {Candidate} picked
 * @param {Candidate} candidate
 */
function isSame(picked, candidate) {
  return /** @type {const} */ (["token_id", "text", "probability", "bytes"]).every((name) => picked[name] === candidate[name]);
}

/**
 * @param {FileHeader} header
 * @param {Step[]} steps
 * @param {End} end
 * @param {number} count of the file's lines
 * @param {FindLoops} findLoops
 */
function checkEnd({ prompt_token_ids: ids, prompt_tokens: tokens, max_new_tokens: most }, steps, end, count, findLoops) {
  /** @type {(key: string, values?: Values) => Refused} */
  const wrong = (key, values) => new Refused(texts.translate("server.read.wrong.run", { complaint: texts.translate(`server.read.wrong.${key}`, values) }));
  if (ids.join() !== tokens.map(({ token_id: id }) => id).join()) throw wrong("ids");
  if (steps.length > most || (end.stop_reason === "steps" && steps.length < most)) throw wrong("count", { most, count: steps.length });
  if (end.message && end.stop_reason !== "error") throw wrong("message");
  const picked = steps.map(({ picked: { token_id: id } }) => id);
  const loops = end.loops ?? [];
  const isCutOff = ["stopped", "error"].includes(end.stop_reason) && loops.length === 0;
  const found = picked.includes(-1) ? [] : findLoops(picked);
  /** @type {(each: Loop[]) => string} */
  const written = (each) => JSON.stringify(each.map(({ start, period, repeats }) => [start, period, repeats]));
  if (!isCutOff && written(loops) !== written(found)) throw new Refused(texts.translate("server.read.loops", { number: count }));
}
