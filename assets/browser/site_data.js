// What decoding/site/build.py knows and hands over at the start: the model's facts, the recorded runs, every example. Empty until
// `provideSite` is called.

export const SITE = {};
export const RECORDED = {};
export const ALL_EXAMPLES = [];

export function provideSite({ site, recorded, allExamples }) {
  Object.assign(SITE, site);
  Object.assign(RECORDED, recorded);
  ALL_EXAMPLES.splice(0, ALL_EXAMPLES.length, ...allExamples);
}
