// The point of an example, written beside its run, wherever the run comes from. Each was found by running one model, and holds for no
// other, nor for a run of other steps or picks.

import { EXAMPLES } from "../core/constants.js";
import { isForced } from "../core/run.js";
import { texts } from "../core/texts.js";
import { setText } from "./elements.js";

/** @import { Run } from "../core/run.js" */
/** @import { Parts } from "./panel_elements.js" */

export const EXAMPLES_MODEL = "starter";

/**
 * @param {Parts} parts
 * @param {Run} run
 * @param {boolean} isHidden
 */
export function drawExamplePoint(parts, run, isHidden) {
  const { model, prompt, max_new_tokens: steps } = run.header;
  const example = EXAMPLES.find((each) => each.prompt === prompt && each.steps === steps);
  parts.point.hidden = isHidden || model.id !== EXAMPLES_MODEL || !example || isForced(run);
  setText(parts.point, parts.point.hidden ? "" : texts.translate(`point.${example?.name}`));
}
