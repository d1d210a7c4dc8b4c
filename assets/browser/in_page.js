// The entry of the Gradio page where it offers to compute in the visitor's browser (`python app.py --browser on`): startPage of
// panel/app/page.js, with that offer. Owns who answers, the server or this browser. While the offer is chosen, the fields' model is to the panel
// the model that it is, so that runs, links and forks are those of any other page; what the panel asks of that model goes to the engine, and all
// else to Gradio.

import { beginsByItself, startDownloadLine } from "./download_line.js";
import { canCompute, modelAsked, startLocalRuns } from "./local_runs.js";
import { provide, TEXTS } from "../panel/core/constants.js";
import { isComposing } from "../panel/app/keyboard.js";
import { startVote } from "../panel/app/class_vote.js";
import { PAGE_FEATURES } from "../panel/app/page_features.js";
import { startPanel } from "../panel/app/panel.js";
import { convertOnServer } from "../panel/app/server_conversion.js";

// What the panel says while nothing comes, of the server or of this browser.
const WAITING = ["state.waiting", "state.silent"];

const inputOf = (name) => /** @type {any} */ (document.querySelector(`#${name} :is(input, textarea)`));
const numberIn = (name) => (inputOf(name).value === "" ? "" : Number(inputOf(name).value));

// As panel/app/page.js; `given.browser` is decoding/page/browser_offer.py's: { choice, base, facts }.
export function startPage(element, props, watch, trigger, given) {
  provide(given);
  const { choice, base, facts } = given.browser;
  const root = element.querySelector(".gs");
  const ofServer = structuredClone(TEXTS);
  const ours = {}; // values of the panel that came from here, in place of Gradio's
  const watchers = {};
  let told = /** @type {string | null} */ (null); // the value that Gradio was told last
  let isBeginning = false; // a run was asked for of which nothing has come
  let isChosen = false;
  let filled = /** @type {any} */ (null); // what the fields are to be set to, once
  let runs = /** @type {any} */ (null); // from the first time that the offer is chosen
  const tell = (name, detail) => root.dispatchEvent(new CustomEvent(name, { detail }));

  // Gradio is told the value as well, when a run begins and when it ends, so that it notices when another takes its place.
  function tellGradio() {
    told = ours.value;
    props.value = told;
  }

  function set(name, value) {
    const isFirst = name === "value" && isBeginning;
    ours[name] = value;
    if (isFirst) tellGradio();
    if (isFirst) isBeginning = false;
    watchers[name]();
  }

  function takeFromGradio(name) {
    if (name === "value" && props.value === told) return;
    delete ours[name];
    if (name === "value" && runs?.isComputing()) runs.stop("stopped");
    watchers[name]();
  }

  const shown = new Proxy(props, { get: (given, name) => (name in ours ? ours[name] : given[name]) });
  const watchBoth = (name, changed) => {
    watchers[name] = changed;
    watch(name, () => takeFromGradio(name));
  };

  // ---- the offer is chosen, or another model

  function start() {
    let line = /** @type {any} */ (null);
    const hear = (event) => {
      line.hear(event);
      if (event.kind === "looked" && (beginsByItself(event) || runs.isComputing())) runs.engine.load();
    };
    const page = { set, hear, busy: switchButtons, ended: (detail) => tell("ended", detail), fill: (values) => fill(values) };
    runs = startLocalRuns(facts, page, base);
    line = startDownloadLine(runs.engine);
    if (canCompute()) runs.engine.look();
    else line.refuse("download.simd");
  }

  function choose(isOurs) {
    if (isOurs && !runs) start();
    isChosen = isOurs;
    for (const [language, words] of Object.entries(TEXTS)) {
      for (const key of WAITING) words[key] = ofServer[language][isOurs ? `site.${key}` : key];
    }
    for (const place of [element, document.querySelector("#bar")]) place.classList.toggle("in-browser", isOurs);
  }

  // Before the panel hears it.
  root.addEventListener("drafted", ({ detail }) => {
    choose(detail.model === choice);
    if (isChosen) Object.assign(detail, { model: facts.model.id, past_end: false, as_message: false });
  });

  // ---- Run and Stop

  // decoding/page/browser_offer.py switches Gradio's buttons.
  function switchButtons(isBusy) {
    root.isComputing = isBusy;
    trigger("computing", {});
    isBeginning = isBusy;
    if (!isBusy && ours.value && ours.value !== told) tellGradio();
  }

  function press() {
    if (runs.isComputing() || !document.querySelector("#run:enabled")) return;
    const fields = { prompt: inputOf("prompt").value, steps: numberIn("steps"), choices: numberIn("choices"), model: facts.model.id, past_end: false, as_message: false };
    tell("asked", fields);
    runs.begin("run", fields);
  }

  function fill({ prompt, steps, choices }) {
    filled = [prompt, steps, choices, null, false, false];
    trigger("follow", {});
  }

  // Both are Gradio's buttons: it does not hear of what is answered here.
  function onClick(event) {
    if (!root.isConnected) return document.removeEventListener("click", onClick, { capture: true });
    const isStop = Boolean(event.target.closest?.("#stop")) && runs?.isComputing();
    const isRun = Boolean(event.target.closest?.("#run")) && isChosen;
    if (!isStop && !isRun) return;
    event.stopImmediatePropagation();
    if (isStop) runs.stop("stopped");
    else press();
  }

  function onKey(event) {
    if (!root.isConnected) return document.removeEventListener("keydown", onKey, { capture: true });
    if (!isChosen || event.key !== "Enter" || event.shiftKey || isComposing(event) || !event.target.closest?.("#prompt")) return;
    event.stopImmediatePropagation();
    event.preventDefault();
    press();
  }

  document.addEventListener("click", onClick, { capture: true });
  document.addEventListener("keydown", onKey, { capture: true });

  // ---- what the panel asks

  async function ask(kind, question) {
    const isOurs = isChosen && kind in runs.asks && (await modelAsked(kind, question)) === facts.model.id;
    if (isOurs) runs.asks[kind](question);
    else trigger(kind, question);
  }

  startPanel(element, shown, watchBoth, ask, { ...PAGE_FEATURES, convert: convertOnServer, startVote });

  const { fieldsOfRun } = root;
  root.fieldsOfRun = () => {
    const fields = filled ?? fieldsOfRun();
    filled = null;
    return isChosen && fields[3] === facts.model.id ? fields.with(3, null) : fields; // the choice stays
  };
}
