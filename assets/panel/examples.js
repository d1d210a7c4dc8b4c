// What there is to see in an example, said beside its run, wherever the run comes from. `EXAMPLES` stands before this script: see
// decoding/assets.py. Each was found by running one model, and holds for no other.

const EXAMPLES_MODEL = "starter";

function drawPoint(parts, run, isHidden) {
  const key = `point.${EXAMPLES.find(({ prompt }) => prompt === run.header.prompt)?.name}`;
  const said = texts.say(key);
  parts.point.hidden = isHidden || run.header.model.id !== EXAMPLES_MODEL || said === key; // some examples have no more to say than their name
  parts.point.textContent = parts.point.hidden ? "" : said;
}
