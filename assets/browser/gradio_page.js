// The entry of the Gradio page where it offers to compute in the visitor's browser (`python app.py --browser on`): startPage of
// panel/app/page.js, with that offer. Owns which of the two answers, the server or this browser. While the offer is chosen, the fields' model is to
// the panel the model that it is, so that runs, links and forks are those of any other page; what the panel asks of that model goes to the engine,
// and all else to Gradio.

import { startDownloadLine, startsByItself } from "./download_line.js";
import { canCompute, modelAsked, panelQuestion, startLocalRuns } from "./local_runs.js";
import { provide, TEXTS } from "../panel/core/constants.js";
import { isComposing } from "../panel/app/keyboard.js";
import { startVote } from "../panel/app/class_vote.js";
import { gradioEvents } from "../panel/app/gradio_events.js";
import { PAGE_FEATURES } from "../panel/app/page_features.js";
import { startPanel } from "../panel/app/panel.js";
import { convertOnServer } from "../panel/app/server_conversion.js";
import { withSessionStorage } from "../panel/app/stored_runs.js";

/** @import { LocalRuns } from "./local_runs.js" */
/** @import { EngineEvent } from "./messages.js" */
/** @import { ModelFacts } from "./model_facts.js" */
/** @import { Props } from "../panel/app/panel.js" */
/** @import { Fields, Trigger } from "../panel/core/state.js" */

/** @typedef {{ choice: string, base: string, facts: ModelFacts }} BrowserOffer of decoding/page/browser_offer.py */

const CHOSEN = "greedyscope.in_browser"; // the offer's place in the tab's memory, so that a reload keeps the choice

// What the panel says while nothing comes, of the server or of this browser.
const WAITING = ["state.waiting", "state.silent"];

/** @type {(name: string) => HTMLInputElement | HTMLTextAreaElement} */
const inputOf = (name) => document.querySelector(`#${name} :is(input, textarea)`);
const numberIn = (/** @type {string} */ name) => (inputOf(name).value === "" ? "" : Number(inputOf(name).value));

/**
 * As panel/app/page.js, with the offer.
 * @param {HTMLElement} element
 * @param {Props} props
 * @param {(name: string, onChange: () => void) => void} watch
 * @param {Trigger} trigger
 * @param {Parameters<typeof provide>[0] & { browser: BrowserOffer }} data
 */
export function startPage(element, props, watch, trigger, data) {
  provide(data);
  const { choice, base, facts } = data.browser;
  const root = element.querySelector(".gs");
  root.gradio = gradioEvents(root);
  const ofServer = structuredClone(TEXTS);
  /** @type {Props} */
  const ours = {}; // values of the panel that came from here, in place of Gradio's
  /** @type {Record<string, () => void>} */
  const watchers = {};
  let isBeginning = false; // a run was asked for of which nothing has come
  let isChosen = false;
  let isRestoring = withSessionStorage((tab) => tab.getItem(CHOSEN)) !== null; // after a reload, until the list of models shows the offer
  let toFill = /** @type {unknown[] | null} */ (null); // what the fields are to be set to, once
  let runs = /** @type {LocalRuns | null} */ (null); // from the first time that the offer is chosen
  /** @type {(name: "asked" | "ended", detail: object) => void} */
  const notifyPanel = (name, detail) => root.dispatchEvent(new CustomEvent(name, { detail }));

  /** @type {(name: keyof Props, value: string) => void} */
  function setValue(name, value) {
    ours[name] = value;
    // Gradio's own value goes when a run begins here, so that Gradio notices when another takes its place.
    if (name === "value" && isBeginning) props.value = "";
    if (name === "value") isBeginning = false;
    watchers[name]();
  }

  /** @param {keyof Props} name */
  function receiveFromGradio(name) {
    if (name === "value" && props.value === "") return;
    delete ours[name];
    if (name === "value" && runs?.isComputing()) runs.stop("stopped");
    watchers[name]();
  }

  const shown = new Proxy(props, { get: (target, /** @type {keyof Props} */ name) => (name in ours ? ours[name] : target[name]) });
  /** @type {(name: keyof Props, changed: () => void) => void} */
  const watchBoth = (name, changed) => {
    watchers[name] = changed;
    watch(name, () => receiveFromGradio(name));
  };

  // ---- the offer is chosen, or another model

  /** @returns {LocalRuns} */
  function startRuns() {
    /** @param {EngineEvent} event */
    const onEvent = (event) => {
      line.update(event);
      if (event.kind === "inspected" && (startsByItself(event) || started.isComputing())) started.engine.load();
    };
    const started = startLocalRuns(facts, { setValue, onEvent, setBusy, onEnd: (detail) => notifyPanel("ended", detail), fillFields }, base);
    const line = startDownloadLine(started.engine);
    if (canCompute()) started.engine.inspect();
    else line.showProblem("download.simd");
    return started;
  }

  /** @param {boolean} isOurs */
  function chooseBrowser(isOurs) {
    if (isOurs) runs ??= startRuns();
    isChosen = isOurs;
    withSessionStorage((tab) => (isOurs ? tab.setItem(CHOSEN, "yes") : tab.removeItem(CHOSEN)));
    for (const [language, words] of Object.entries(TEXTS)) {
      for (const key of WAITING) words[key] = ofServer[language][isOurs ? `site.${key}` : key];
    }
    document.documentElement.classList.toggle("in-browser", isOurs); // the bar may come after the panel
  }

  // Before the panel hears it.
  root.addEventListener("drafted", (/** @type {CustomEvent<Fields>} */ { detail }) => {
    if (detail.model !== facts.model.id) isRestoring = false;
    chooseBrowser(detail.model === choice || isRestoring);
    if (isChosen) Object.assign(detail, { model: facts.model.id, past_end: false, as_message: false });
  });

  // ---- Run and Stop

  /**
   * Gradio's buttons follow: decoding/page/events.py.
   * @param {boolean} isBusy
   */
  function setBusy(isBusy) {
    root.gradio.setBusy(isBusy);
    trigger("computing", {});
    isBeginning = isBusy;
  }

  function startRun() {
    if (!runs || runs.isComputing() || !document.querySelector("#run:enabled")) return;
    /** @type {Fields} */
    const fields = { prompt: inputOf("prompt").value, steps: numberIn("steps"), choices: numberIn("choices"), model: facts.model.id, past_end: false, as_message: false };
    notifyPanel("asked", fields);
    runs.startRun("run", fields);
  }

  /** @type {import("./local_runs.js").RunsPage["fillFields"]} */
  function fillFields({ prompt, steps, choices }) {
    toFill = [prompt, steps, choices, null, false, false];
    trigger("follow", {});
  }

  /**
   * Both are Gradio's buttons: it does not hear of what is answered here.
   * @param {PageEvent<MouseEvent>} event
   */
  function onClick(event) {
    if (!root.isConnected) return document.removeEventListener("click", onClick, { capture: true });
    const isStop = Boolean(event.target.closest?.("#stop")) && runs?.isComputing();
    const isRun = Boolean(event.target.closest?.("#run")) && isChosen;
    if (!isStop && !isRun) return;
    event.stopImmediatePropagation();
    if (isStop) runs?.stop("stopped");
    else startRun();
  }

  /** @param {PageEvent<KeyboardEvent>} event */
  function onKey(event) {
    if (!root.isConnected) return document.removeEventListener("keydown", onKey, { capture: true });
    if (!isChosen || event.key !== "Enter" || event.shiftKey || isComposing(event) || !event.target.closest?.("#prompt")) return;
    event.stopImmediatePropagation();
    event.preventDefault();
    startRun();
  }

  document.addEventListener("click", onClick, { capture: true });
  document.addEventListener("keydown", onKey, { capture: true });

  // ---- what the panel asks

  /** @type {Trigger} */
  async function askHereOrServer(kind, detail) {
    if (kind === "begun" && runs?.isComputing()) return; // Gradio's buttons know it since `setBusy`
    const asked = isChosen ? panelQuestion(kind, detail) : null;
    if (asked && runs && (await modelAsked(asked)) === facts.model.id) runs.ask(asked);
    else trigger(kind, detail);
  }

  startPanel(element, shown, watchBoth, askHereOrServer, { ...PAGE_FEATURES, convert: convertOnServer, startVote });

  const { fieldsOfRun } = root;
  root.fieldsOfRun = () => {
    const fields = toFill ?? fieldsOfRun();
    toFill = null;
    if (!isChosen || ![facts.model.id, null].includes(fields[3])) return fields;
    return fields.with(3, isRestoring ? choice : null); // the choice stays
  };
  if (isRestoring) {
    chooseBrowser(true); // before the panel asks for the run that the address names
    setTimeout(() => trigger("follow", {})); // after the page has its listeners
  }
}
