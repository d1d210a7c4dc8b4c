// What decoding/site/build.py knows and hands over at the start: the model's facts, the recorded runs, every example. Empty until
// `provideSite` is called.

/** @import { Example } from "../panel/core/constants.js" */
/** @import { ModelFacts } from "./model_facts.js" */

/** @typedef {Example & { choices: number }} SiteExample */

/** @typedef {{ site: ModelFacts, recorded: Record<string, string>, allExamples: SiteExample[] }} SiteData `recorded`: JSON Lines by name */

export const SITE = /** @type {ModelFacts} */ ({});
/** @type {SiteData["recorded"]} */
export const RECORDED = {};
/** @type {SiteExample[]} */
export const ALL_EXAMPLES = [];

/** @param {SiteData} data */
export function provideSite({ site, recorded, allExamples }) {
  Object.assign(SITE, site);
  Object.assign(RECORDED, recorded);
  ALL_EXAMPLES.splice(0, ALL_EXAMPLES.length, ...allExamples);
}
