// The static site's page: the fields, the examples, and the panel's questions, which this browser answers itself. decoding/site/build.py
// calls `startSite` once.

import { startDownloadLine } from "./download_line.js";
import { startEngine, trusted } from "./engine_client.js";
import { convertHere } from "./opened_file.js";
import { ALL_EXAMPLES, provideSite, RECORDED, SITE } from "./site_data.js";
import { provide, TEXTS } from "../panel/core/constants.js";
import { howOf } from "../panel/core/how_picked.js";
import { fieldsOf } from "../panel/core/permalink.js";
import { texts } from "../panel/core/texts.js";
import { isEmbedded } from "../panel/view/surface.js";
import { followTheme } from "../panel/view/theme.js";
import { PAGE_FEATURES } from "../panel/app/page_features.js";
import { startPanel } from "../panel/app/panel.js";
import { withSessionStorage } from "../panel/app/stored_runs.js";

const FIELDS = ["prompt", "steps", "choices"];
const RELOADED = "greedyscope.reloaded";
// With i8x16.popcnt, which came with the rest of SIMD.
const SIMD = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11);

const site = document.querySelector("#panel");
const field = (name) => document.querySelector(`#${name} :is(input, textarea)`);
const buttons = { run: document.querySelector("#run"), stop: document.querySelector("#stop") };

// ---- the panel's value, as Gradio would hand it over

const props = { value: "", words: "", models: "[]" };
const watchers = {};
const set = (name, value) => {
  props[name] = value;
  watchers[name]();
};
const notice = (said, place = "notice") => set("words", JSON.stringify({ ...clear, [place]: said }));
const clear = Object.fromEntries(["notice", ...FIELDS.map((name) => `problem-${name}`), "problem-forced"].map((place) => [place, ""]));
const tell = (name, detail) => site.querySelector(".gs").dispatchEvent(new CustomEvent(name, { detail }));

// A message as decoding/messages.py writes it.
const english = (key, values) => TEXTS.en[key].replace(/\{(\w+)\}/g, (place, name) => values[name] ?? place);
const message = (key, parameters = {}) => ({ code: key.replace("server.", ""), parameters, text: english(key, parameters) });

// ---- fields

function fieldsNow() {
  const number = (name) => (field(name).value === "" ? "" : Number(field(name).value));
  return { prompt: field("prompt").value, steps: number("steps"), choices: number("choices"), model: SITE.model.id };
}

function fill(values) {
  for (const name of FIELDS) if (values[name] !== null && values[name] !== undefined) field(name).value = values[name];
  tell("drafted", fieldsNow());
}

// ---- runs

let growing = "";

function begin(kind, request) {
  if (!canCompute) return refuse("forced", texts.translate("download.simd"));
  const { model } = request;
  if (Object.keys(howOf(request)).length) return refuse("forced", texts.translate("download.argmax")); // never another run than was asked for
  if (model !== SITE.model.id) return refuse("forced", message("server.model.not_offered", { model: String(model), models: SITE.model.id }));
  set("words", JSON.stringify({ ...clear, notice: engine.isReady() ? "" : message("server.model.loading", { model: SITE.model.id }) }));
  growing = "";
  busy(true);
  engine.ask(kind, request);
}

function busy(isBusy) {
  buttons.run.disabled = isBusy;
  buttons.stop.disabled = !isBusy;
}

function finish(reason, message = "") {
  busy(false);
  tell("ended", { reason, message }); // changes nothing where the run has ended by itself
}

// Nothing is waited for any more.
function stop(reason) {
  engine.stop();
  notice("");
  finish(reason);
}

function refuse(place, said) {
  const known = place in clear ? place : `problem-${place}` in clear ? `problem-${place}` : "problem-forced";
  notice(said, known);
  finish("error", said.text ?? said);
}

const hears = {
  line: ({ text }) => {
    if (text.startsWith('{"prompt_scores"')) return set("words", JSON.stringify({ ...clear, scores: text.trim() }));
    if (growing === "") notice("");
    growing += text;
    set("value", growing);
  },
  why: ({ text }) => set("words", JSON.stringify({ ...clear, why: text })),
  done: () => finish("error", ""),
  refused: ({ field: place, said }) => refuse(place, said),
  broken: ({ isOnGpu }) => {
    const key = isOnGpu ? "server.browser.broken_gpu" : "server.browser.broken";
    notice(message(key));
    finish("error", english(key, {}));
  },
};

// ---- what the panel asks

const asks = {
  branch: (question) => begin("run", question),
  score: (question) => begin("score", question),
  beam: (question) => begin("beam", question),
  prompt: (question) => begin("prompt", question),
  why: (question) => begin("why", { ...question, model: modelOf(question.run) }),
  link: async ({ value }) => {
    const fields = await fieldsOf(value).catch(() => []);
    if (fields.length < 6) return refuse("forced", message("server.link.broken"));
    const [model, prompt, steps, choices, forced, , , how] = fields;
    fill({ prompt, steps, choices });
    begin("run", { model, prompt, steps, choices, forced, ...how });
  },
  follow: () => {
    const [prompt, steps, choices] = site.querySelector(".gs").fieldsOfRun();
    fill({ prompt, steps, choices });
  },
};

const modelOf = (run) => JSON.parse(run.slice(0, run.indexOf("\n"))).model.id;

function trigger(kind, question) {
  asks[kind]?.(question);
}

// ---- what is not here is absent

function leaveOut(root) {
  // Another model can be asked beside a run from a file: the panel shows that question again there.
  for (const name of ["beside", "agree", "draws", "named", "pastEnd"]) root.querySelector(`[data-ask="${name}"]`).closest("section").hidden = true;
  for (const button of root.querySelectorAll('[data-file]:not([data-file="jsonl"])')) button.hidden = true;
  root.querySelector(".gs-frame").closest("section").hidden = true;
}

// ---- the page

function listenToPage() {
  const run = () => {
    tell("asked", fieldsNow());
    begin("run", fieldsNow());
  };
  buttons.run.addEventListener("click", run);
  field("prompt").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!buttons.run.disabled) run();
  });
  buttons.stop.addEventListener("click", () => stop("stopped"));
  for (const name of FIELDS) field(name).addEventListener("input", () => tell("drafted", fieldsNow()));
  for (const example of ALL_EXAMPLES) {
    exampleButton(`example.${example.name}`, () => fill(example));
  }
  chipLabel("page.recorded");
  for (const name of Object.keys(RECORDED)) exampleButton(`recorded.${name}`, () => set("value", RECORDED[name]));
}

function chipLabel(key) {
  const label = document.createElement("span");
  label.className = "chips-label";
  label.dataset.text = key;
  document.querySelector(".chips").append(label);
}

function exampleButton(key, press) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.text = key;
  button.addEventListener("click", press);
  document.querySelector(".chips").append(button);
}

// The service worker keeps the page for the time without a network. Where the server sends no headers, it sends them, which the page
// has only when it is loaded once more: at its first visit, before anything has been done.
async function keepPage() {
  if (!navigator.serviceWorker || isEmbedded()) return;
  const before = navigator.serviceWorker.controller;
  const registration = await navigator.serviceWorker.register(trusted("service_worker.js")).catch(() => null);
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

// A download that costs money, or much of a small device's room, is asked for first.
function beginsByItself({ here, total, isSmall }) {
  const { saveData = false, type = "" } = navigator.connection ?? {};
  return here === total || !(saveData || type === "cellular" || isSmall);
}

const canCompute = typeof WebAssembly === "object" && WebAssembly.validate(SIMD);
let engine = /** @type {any} */ (null);

export function startSite(data) {
  provide(data);
  provideSite(data);
  engine = startEngine(SITE, (event) => {
    downloadLine.hear(event);
    hears[event.kind]?.(event);
    if (event.kind === "looked" && beginsByItself(event)) engine.load();
    if (event.kind === "failed") stop("error");
  });
  const downloadLine = startDownloadLine(engine);
  document.documentElement.classList.toggle("embedded", isEmbedded());
  followTheme();
  listenToPage();
  texts.onChange(() => { document.title = texts.translate("page.title"); });
  Object.assign(props, { value: RECORDED.starter, models: JSON.stringify([SITE.model.id]) });
  startPanel(site, props, (name, watcher) => { watchers[name] = watcher; }, trigger, { ...PAGE_FEATURES, convert: convertHere });
  leaveOut(site);
  fill(ALL_EXAMPLES[0]);
  keepPage().then(() => (canCompute ? engine.look() : downloadLine.refuse("download.simd")));
}
