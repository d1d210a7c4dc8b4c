// The `run` parameter of an address: a request as deflated JSON in base64url, as decoding/record/permalink.py writes and reads it.

import { LIMITS } from "./constants.js";
import { howOf } from "./how_picked.js";
import { requestUpTo } from "./run.js";
import { texts } from "./texts.js";

/** @import { Request, Run } from "./run.js" */

/**
 * A deflated text, up to a length: a few letters can be made to unpack to gigabytes.
 * @param {string} letters
 * @param {number} most
 * @returns {Promise<string>}
 */
async function inflate(letters, most) {
  const packed = new Blob([Uint8Array.from(letters, (letter) => letter.charCodeAt(0))]).stream();
  const reader = packed.pipeThrough(new DecompressionStream("deflate-raw")).getReader();
  const parts = [];
  let size = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value);
    size += part.value.length;
    if (size > most) {
      await reader.cancel();
      throw new RangeError();
    }
  }
  return new Blob(parts).text();
}

/**
 * The address's `run`, or null for a request that no address can name, and in a browser that cannot pack one.
 * @param {Partial<Request>} request
 * @param {number} step
 * @param {string} language
 * @returns {Promise<string | null>}
 */
export async function linkTo({ model, prompt, steps, choices, forced = [], ...rest }, step, language) {
  /** @type {(value: unknown, most: number) => boolean} */
  const isNumber = (value, most) => Number.isInteger(value) && Number(value) > 0 && Number(value) <= most;
  if (!globalThis.CompressionStream || typeof prompt !== "string" || typeof model !== "string" || !isNumber(steps, LIMITS.steps) || !isNumber(choices, LIMITS.choices)) return null;
  const fields = [model, prompt, steps, choices, forced, Math.max(0, step)];
  const how = howOf(rest);
  const isPlain = Object.keys(how).length === 0;
  const text = JSON.stringify(isPlain ? (language ? [...fields, language] : fields) : [...fields, language || "", how]);
  const packed = new Blob([text]).stream().pipeThrough(new CompressionStream("deflate-raw"));
  const bytes = new Uint8Array(await new Response(packed).arrayBuffer());
  const link = `1${btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`;
  return link.length <= LIMITS.linkCharacters ? link : null;
}

/**
 * The request that writes a run again: every pick that argmax would not have made becomes a forced pick.
 * @param {Run} run
 * @returns {Partial<Request>}
 */
export function requestOf(run) {
  if (run.header.note || run.steps.some(({ picked }) => picked.token_id < 0)) return {};
  return requestUpTo(run, run.steps.length);
}

/**
 * @param {string} value
 * @returns {Promise<any[]>}
 */
export async function fieldsOf(value) {
  if (value.length > LIMITS.linkCharacters) return [];
  const fields = JSON.parse(await inflate(atob(value.slice(1).replaceAll("-", "+").replaceAll("_", "/")), LIMITS.linkBytes));
  return Array.isArray(fields) ? fields : [];
}

/**
 * The request that a link names; null for a broken link. Whether its numbers are in range is for what writes the run to check.
 * @param {string} value
 * @returns {Promise<Request | null>}
 */
export async function requestIn(value) {
  const [model, prompt, steps, choices, forced, step, , how = {}] = await fieldsOf(value).catch(() => []);
  const isPair = (/** @type {unknown} */ pair) => Array.isArray(pair) && pair.length === 2 && pair.every(Number.isInteger);
  const isRequest = typeof model === "string" && typeof prompt === "string" && [steps, choices, step].every(Number.isInteger);
  if (!isRequest || !Array.isArray(forced) || !forced.every(isPair) || how === null || typeof how !== "object") return null;
  return { model, prompt, steps, choices, forced, ...howOf(how) };
}

/**
 * The page's address with a request in it, or without one where it can name none.
 * @param {Partial<Request>} request
 * @param {number} step
 * @returns {Promise<{ address: URL, link: string | null }>}
 */
export async function addressOf(request, step) {
  const address = new URL(location.href);
  const link = await linkTo(request, step, texts.chosenLanguage());
  const named = { run: link, language: link ? "" : texts.chosenLanguage() }; // a link names the language itself
  for (const [name, value] of Object.entries(named)) {
    if (value) address.searchParams.set(name, value);
    else address.searchParams.delete(name);
  }
  return { address, link };
}
