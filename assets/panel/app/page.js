// The entry of the Gradio page: decoding/page/panel.py calls `startPage` with what Gradio gives a component, and with `data`,
// which core/constants.js holds.

import { provide } from "../core/constants.js";
import { startVote } from "./class_vote.js";
import { gradioEvents } from "./gradio_events.js";
import { PAGE_FEATURES } from "./page_features.js";
import { startPanel } from "./panel.js";
import { convertOnServer } from "./server_conversion.js";

/** @import { Props } from "./panel.js" */
/** @import { Trigger } from "../core/state.js" */

/**
 * @param {Element} element
 * @param {Props} props
 * @param {(name: string, onChange: () => void) => void} watch
 * @param {Trigger} trigger
 * @param {Parameters<typeof provide>[0]} data
 */
export function startPage(element, props, watch, trigger, data) {
  provide(data);
  element.querySelector(".gs").gradio = gradioEvents(element.querySelector(".gs"));
  startPanel(element, props, watch, trigger, { ...PAGE_FEATURES, convert: convertOnServer, startVote });
}
