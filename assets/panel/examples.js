// What there is to see in an example, said beside its run, wherever the run comes from. `EXAMPLES` stands before this script: see
// decoding/assets.py. Each was found by running one model, and
// holds for no other, nor for a run of other steps or picks.

const EXAMPLES_MODEL = "starter";

function drawPoint(parts, run, isHidden) {
  const { model, prompt, max_new_tokens: steps } = run.header;
  const example = EXAMPLES.find((each) => each.prompt === prompt && each.steps === steps);
  parts.point.hidden = isHidden || model.id !== EXAMPLES_MODEL || !example || isForced(run);
  parts.point.textContent = parts.point.hidden ? "" : texts.say(`point.${example.name}`);
}
