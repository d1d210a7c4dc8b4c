// What Gradio's events call in the page, without its server: decoding/page/events.py names these functions. They tell the panel of the fields
// and of a run's end. Owns which of Run and Stop is unlocked.

import { TEXTS } from "../core/constants.js";

/** @import { Fields } from "../core/state.js" */

/** @typedef {"idle" | "asked" | "computing" | "stopped"} Status "asked" until the server begins to answer, "stopped" until it has ended the run */

const UNCHANGED = { __type__: "update" };
const STOPPED = { reason: "stopped", message: "" };

/** @param {HTMLElement & { fieldsOfRun?: () => unknown[] }} root */
export function gradioEvents(root) {
  let status = /** @type {Status} */ ("idle");

  /** @type {(name: "drafted" | "asked" | "ended", detail: object) => void} */
  const notifyPanel = (name, detail) => { root.dispatchEvent(new CustomEvent(name, { detail })); };

  /** @type {(next?: Status) => object[]} Gradio's updates of Run and Stop */
  function change(next = status) {
    status = next;
    return [status === "idle", status === "computing"].map((interactive) => ({ ...UNCHANGED, interactive }));
  }

  return {
    // Enter in the prompt. Gradio greys the button a little later than this knows it.
    press: () => { if (status === "idle") document.querySelector("#run:enabled")?.click(); },
    /** @type {(fields: Fields) => void} */
    drafted: (fields) => notifyPanel("drafted", fields),
    /** @type {(fields?: Fields) => object[]} Run was pressed with these fields, or the panel asks. In mid-run Gradio ignores it, and Stop stays. */
    asked(fields) {
      if (fields) notifyPanel("asked", fields);
      return change(status === "computing" ? status : "asked");
    },
    // Gradio cannot cancel an event before the server has answered. A beginning may be heard after a short run's end, and locks nothing then.
    begun: () => change(status === "asked" ? "computing" : status),
    buttons: () => change(),
    /** @type {(isBusy: boolean) => void} the browser's own engine, of which Gradio does not hear */
    setBusy: (isBusy) => { change(isBusy ? "computing" : "idle"); },
    // Run follows with the event's end: Gradio drops what is asked again before the server has answered the cancelling.
    stopped() {
      if (status !== "computing") return change(); // it has ended meanwhile
      notifyPanel("ended", STOPPED);
      return change("stopped");
    },
    // No more updates come, which Gradio says three times of a stopped run. It changes nothing if the run has ended already.
    ended() {
      notifyPanel("ended", status === "stopped" ? STOPPED : { reason: "error", message: TEXTS.en["server.run.lost"] });
      return change("idle");
    },
    follow: () => root.fieldsOfRun?.().map((value) => value ?? UNCHANGED),
  };
}
