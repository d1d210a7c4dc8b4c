// What the last run left: its steps, and the keys and values of its ids. A run that begins as it did goes on from there, so that a fork
// late in a text is there at once. Knows no text and no page.

const MOST_POSITIONS = 2048; // what is kept takes memory that a long prompt may need

export class PrefixCache {
  #kept = null; // { start, choices, steps: [{ id, forced, text }], cache }

  // `cache` holds the prompt and every picked id but the last.
  keep(start, choices, steps, cache) {
    this.#kept = cache.length > 0 && cache.length <= MOST_POSITIONS ? { start, choices, steps, cache } : null;
  }

  // The steps that this run shares with the last one, and the cache of all ids before their last.
  recall(start, { choices, steps: most, forced }, network) {
    const kept = this.#kept;
    const nothing = { steps: [], cache: network.emptyCache(), unread: start };
    if (!kept || kept.choices !== choices || kept.start.join() !== start.join()) return nothing;
    const differs = kept.steps.findIndex((step, index) => index >= most || step.forced !== (forced.get(index) ?? null));
    const steps = kept.steps.slice(0, differs < 0 ? kept.steps.length : differs);
    const ids = [...start, ...steps.map(({ id }) => id)];
    return { steps, cache: network.cropped(kept.cache, Math.min(ids.length - 1, kept.cache.length)), unread: ids.slice(-1) };
  }
}
