// The static site's page: the fields, the examples, and the panel's questions, which this browser answers itself. decoding/site/build.py
// calls `startSite` once.

import { startDownloadLine, startsByItself } from "./download_line.js";
import { ASKED_FIELDS, canCompute, panelQuestion, startLocalRuns } from "./local_runs.js";
import { convertHere } from "./opened_file.js";
import { ALL_EXAMPLES, provideSite, RECORDED, SITE } from "./site_data.js";
import { provide } from "../panel/core/constants.js";
import { texts } from "../panel/core/texts.js";
import { isEmbedded } from "../panel/view/environment.js";
import { followTheme } from "../panel/view/theme.js";
import { PAGE_FEATURES } from "../panel/app/page_features.js";
import { startPanel } from "../panel/app/panel.js";
import { withSessionStorage } from "../panel/app/stored_runs.js";

/** @import { EngineEvent } from "./messages.js" */
/** @import { FieldValues, LocalRuns } from "./local_runs.js" */
/** @import { SiteData } from "./site_data.js" */
/** @import { Props } from "../panel/app/panel.js" */
/** @import { Fields, Trigger } from "../panel/core/state.js" */

const RELOADED = "greedyscope.reloaded";

const site = document.querySelector("#panel");
/** @type {(name: typeof ASKED_FIELDS[number]) => HTMLInputElement} or a text area */
const field = (name) => document.querySelector(`#${name} :is(input, textarea)`);
/** @type {{ run: HTMLButtonElement, stop: HTMLButtonElement }} */
const buttons = { run: document.querySelector("#run"), stop: document.querySelector("#stop") };

// ---- the panel's value, as Gradio would hand it over

/** @type {Required<Props>} */
const props = { value: "", words: "", begun_number: "", models: "[]" };
/** @type {Record<string, () => void>} */
const watchers = {};
/** @type {(name: keyof Props, value: string) => void} */
const setValue = (name, value) => {
  props[name] = value;
  watchers[name]();
};
/** @type {(name: "asked" | "drafted" | "ended", detail: object) => void} */
const notifyPanel = (name, detail) => site.querySelector(".gs").dispatchEvent(new CustomEvent(name, { detail }));

// ---- fields

/** @returns {Fields} */
function readFields() {
  const number = (/** @type {"steps" | "choices"} */ name) => (field(name).value === "" ? "" : Number(field(name).value));
  return { prompt: field("prompt").value, steps: number("steps"), choices: number("choices"), model: SITE.model.id };
}

/** @param {Partial<Record<keyof FieldValues, string | number | null>>} values those that are null stay as they are */
function fillFields(values) {
  for (const name of ASKED_FIELDS) {
    const value = values[name] ?? null;
    if (value !== null) field(name).value = String(value);
  }
  notifyPanel("drafted", readFields());
}

// ---- runs

/** @param {boolean} isBusy */
function setBusy(isBusy) {
  buttons.run.disabled = isBusy;
  buttons.stop.disabled = !isBusy;
}

function fillFromRun() {
  const [prompt, steps, choices] = site.querySelector(".gs").fieldsOfRun();
  fillFields({ prompt, steps, choices });
}

// ---- what is not here is absent

/** @param {HTMLElement} root */
function hideWhatNeedsServer(root) {
  // Another model can be asked beside a run from a file: the panel shows that question again there.
  for (const name of ["beside", "agree", "draws", "named", "pastEnd"]) root.querySelector(`[data-ask="${name}"]`).closest("section").hidden = true;
  for (const button of root.querySelectorAll('[data-file]:not([data-file="jsonl"])')) button.hidden = true;
  root.querySelector(".gs-frame").closest("section").hidden = true;
}

// ---- the page

/** @param {LocalRuns} runs */
function listenToPage(runs) {
  const run = () => {
    notifyPanel("asked", readFields());
    runs.startRun("run", readFields());
  };
  buttons.run.addEventListener("click", run);
  field("prompt").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!buttons.run.disabled) run();
  });
  buttons.stop.addEventListener("click", () => runs.stop("stopped"));
  for (const name of ASKED_FIELDS) field(name).addEventListener("input", () => notifyPanel("drafted", readFields()));
  for (const example of ALL_EXAMPLES) {
    exampleButton(`example.${example.name}`, () => fillFields(example));
  }
  chipLabel("page.recorded");
  for (const name of Object.keys(RECORDED)) exampleButton(`recorded.${name}`, () => setValue("value", RECORDED[name]));
}

/** @param {string} key of its text */
function chipLabel(key) {
  const label = document.createElement("span");
  label.className = "chips-label";
  label.dataset.text = key;
  document.querySelector(".chips").append(label);
}

/**
 * @param {string} key of its text
 * @param {() => void} onPress
 */
function exampleButton(key, onPress) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.text = key;
  button.addEventListener("click", onPress);
  document.querySelector(".chips").append(button);
}

// The service worker keeps the page for the time without a network. Where the server sends no headers, it sends them, which the page
// has only when it is loaded once more: at its first visit, before anything has been done.
async function registerServiceWorker() {
  if (!navigator.serviceWorker || isEmbedded()) return;
  const before = navigator.serviceWorker.controller;
  const registration = await navigator.serviceWorker.register("service_worker.js").catch(() => null);
  if (!registration || crossOriginIsolated || before || withSessionStorage((tab) => tab.getItem(RELOADED)) !== null) return;
  await new Promise((done) => {
    navigator.serviceWorker.addEventListener("controllerchange", done, { once: true });
    setTimeout(done, 5000);
  });
  if (!navigator.serviceWorker.controller) return;
  withSessionStorage((tab) => tab.setItem(RELOADED, "yes"));
  location.reload();
  await new Promise(() => {}); // nothing begins on a page that goes
}

/** @param {Parameters<typeof provide>[0] & SiteData} data */
export function startSite(data) {
  provide(data);
  provideSite(data);
  /** @param {EngineEvent} event */
  const onEvent = (event) => {
    downloadLine.update(event);
    if (event.kind === "inspected" && startsByItself(event)) runs.engine.load();
  };
  const runs = startLocalRuns(SITE, { setValue, setBusy, fillFields, onEnd: (detail) => notifyPanel("ended", detail), onEvent });
  const downloadLine = startDownloadLine(runs.engine);
  /** @type {Trigger} */
  const trigger = (kind, detail) => {
    const asked = panelQuestion(kind, detail);
    if (kind === "follow") fillFromRun();
    else if (asked) runs.ask(asked);
  };
  document.documentElement.classList.toggle("embedded", isEmbedded());
  followTheme();
  listenToPage(runs);
  texts.onChange(() => { document.title = texts.translate("page.title"); });
  Object.assign(props, { value: RECORDED.starter, models: JSON.stringify([SITE.model.id]) });
  startPanel(site, props, (name, watcher) => { watchers[name] = watcher; }, trigger, { ...PAGE_FEATURES, convert: convertHere });
  hideWhatNeedsServer(site);
  fillFields(ALL_EXAMPLES[0]);
  registerServiceWorker().then(() => (canCompute() ? runs.engine.inspect() : downloadLine.showProblem("download.simd")));
}
