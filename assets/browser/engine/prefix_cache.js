// What the last run left: its steps, and the keys and values of its ids. A run that begins as it did goes on from there, so that a fork
// late in a text is there at once. Knows no text and no page.

/** @import { KvCache, Network } from "./network.js" */
/** @import { CheckedRequest } from "./requests.js" */

/** @typedef {{ id: number, forced: number | null, text: string }} KeptStep the id that was picked, the one that was asked for, and the line */

/** @typedef {{ steps: KeptStep[], cache: KvCache, unread: number[] }} Recalled steps that need no pass, a cache, and the ids to read after it */

const MOST_POSITIONS = 2048; // what is kept takes memory that a long prompt may need

export class PrefixCache {
  /** @type {{ start: number[], choices: number, steps: KeptStep[], cache: KvCache } | null} */
  #kept = null;

  /**
   * @param {number[]} start the prompt's ids
   * @param {number} choices
   * @param {KeptStep[]} steps
   * @param {KvCache} cache of the prompt and of every picked id but the last
   */
  store(start, choices, steps, cache) {
    const { length } = cache.ids;
    this.#kept = length > 0 && length <= MOST_POSITIONS ? { start, choices, steps, cache } : null;
  }

  /**
   * The steps that this run shares with the last one, and the cache of all ids before their last.
   * @param {number[]} start
   * @param {CheckedRequest} request
   * @param {Network} network
   * @returns {Recalled}
   */
  recall(start, { choices, steps: most, forced }, network) {
    const kept = this.#kept;
    const nothing = { steps: [], cache: network.emptyCache(), unread: start };
    if (!kept || kept.choices !== choices || kept.start.join() !== start.join()) return nothing;
    const differs = kept.steps.findIndex((step, index) => index >= most || step.forced !== (forced.get(index) ?? null));
    const steps = kept.steps.slice(0, differs < 0 ? kept.steps.length : differs);
    const ids = [...start, ...steps.map(({ id }) => id)];
    return { steps, cache: network.cropped(kept.cache, Math.min(ids.length - 1, kept.cache.ids.length)), unread: ids.slice(-1) };
  }
}
