// The model's files, fetched once and kept by this browser. Owns the pieces and their sums: the browser itself refuses a file whose sum is
// another (subresource integrity), over http too. What came is kept, so that a download that ends goes on where it was. Knows no model.

/** @import { Failure } from "../messages.js" */
/** @import { ModelFile } from "../model_facts.js" */

const CACHE = "greedyscope-model";
const AT_ONCE = 3;

/** @typedef {{ onProgress: (bytes: number) => void, controller: AbortController }} DownloadOptions bytes that are here; `controller` ends it */

export class DownloadError extends Error {
  /**
   * @param {Failure["reason"]} reason "lost" where the site cannot be reached, "sum" where it sends another file, "stopped"
   * @param {string} [file]
   */
  constructor(reason, file = "") {
    super(reason);
    this.reason = reason;
    this.file = file;
  }
}

/**
 * The contents of files, in their order. The first fault ends all of it.
 * @param {ModelFile[]} files
 * @param {string} base
 * @param {DownloadOptions} options
 * @returns {Promise<ArrayBuffer[]>}
 */
export async function download(files, base, { onProgress, controller }) {
  const { signal } = controller;
  const cache = await openCache();
  /** @type {ArrayBuffer[]} */
  const contents = new Array(files.length);
  const waiting = [...files.entries()];
  let here = 0;
  const fetchNext = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const [at, file] = next;
      contents[at] = await fetchFile(file, new URL(file.path, base).href, cache, signal);
      if (signal.aborted) throw new DownloadError("stopped");
      here += file.bytes;
      onProgress(here);
    }
  };
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, fetchNext));
  } catch (error) {
    controller.abort();
    throw error;
  }
  return contents;
}

/**
 * How many bytes of these files this browser has kept.
 * @param {ModelFile[]} files
 * @param {string} base
 * @returns {Promise<number>}
 */
export async function keptBytes(files, base) {
  const cache = await openCache();
  const found = await Promise.all(files.map(async ({ path, bytes }) => ((await cache?.match(new URL(path, base).href)) ? bytes : 0)));
  return found.reduce((sum, bytes) => sum + bytes, 0);
}

/**
 * Deletes what an earlier version of the site left.
 * @param {ModelFile[]} files those that stay
 * @param {string} base
 */
export async function deleteOthers(files, base) {
  const cache = await openCache();
  const named = new Set(files.map(({ path }) => new URL(path, base).href));
  for (const { url } of (await cache?.keys()) ?? []) if (url.startsWith(base) && !named.has(url)) await cache?.delete(url);
}

/**
 * @param {ArrayBuffer[]} pieces
 * @returns {ArrayBuffer}
 */
export function joinPieces(pieces) {
  const whole = new Uint8Array(pieces.reduce((size, piece) => size + piece.byteLength, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(new Uint8Array(piece), at);
    at += piece.byteLength;
  }
  return whole.buffer;
}

/**
 * None on a page that came over plain http from another machine, nor in some private windows.
 * @returns {Promise<Cache | null>}
 */
async function openCache() {
  return (await self.caches?.open(CACHE).catch(() => null)) ?? null;
}

/**
 * @param {ModelFile} file
 * @param {string} address
 * @param {Cache | null} cache
 * @param {AbortSignal} signal
 * @returns {Promise<ArrayBuffer>}
 */
async function fetchFile(file, address, cache, signal) {
  const kept = await cache?.match(address);
  const before = kept ? await kept.arrayBuffer() : null;
  if (before?.byteLength === file.bytes) return before;
  const content = await fetchChecked(file, address, signal);
  // Without room it is fetched again next time. A script is run only where it says that it is one.
  /** @type {Record<string, string>} */
  const headers = file.path.endsWith(".js") ? { "content-type": "text/javascript" } : {};
  await cache?.put(address, new Response(content, { headers })).catch(() => {});
  return content;
}

/**
 * A file with a wrong sum is fetched once more, past every cache on the way, and then refused.
 * @param {ModelFile} file
 * @param {string} address
 * @param {AbortSignal} signal
 * @returns {Promise<ArrayBuffer>}
 */
async function fetchChecked({ path, sha256 }, address, signal) {
  for (const way of /** @type {const} */ (["default", "reload"])) {
    try {
      const response = await fetch(address, { cache: way, integrity: `sha256-${sha256}`, signal });
      if (response.ok) return await response.arrayBuffer();
    } catch {
      if (signal.aborted) throw new DownloadError("stopped");
    }
    // The browser says in the same words that a sum is wrong and that nothing came.
    const isThere = await fetch(address, { method: "HEAD", cache: "no-store" }).then(({ ok }) => ok, () => false);
    if (!isThere) throw new DownloadError("lost", path);
  }
  throw new DownloadError("sum", path);
}
