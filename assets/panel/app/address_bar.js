// The address bar holds the run on screen, as `decoding/record/permalink.py` writes it, from the moment that it is asked for; back and
// forward walk through the runs.

import { addressOf, fieldsOf, requestOf } from "../core/permalink.js";
import { texts } from "../core/texts.js";
import { copyText } from "../view/clipboard.js";
import { nameOfTab, withSessionStorage } from "./stored_runs.js";

/** @import { Entry, History } from "../core/history.js" */
/** @import { Panel, Question, State } from "../core/state.js" */
/** @import { Parts } from "../view/panel_elements.js" */

/**
 * A place in the browser's history: a run of this tab, and a step of it; or what was asked, until its run has come.
 * @typedef {{ page: string, number?: number, step?: number, request?: string }} Place
 */

const ADDRESS_MILLISECONDS = 250;
const LEFT_KEY = "greedyscope.left"; // the place where the page was left

/**
 * @param {Parts} parts
 * @param {History} history
 * @param {State} state
 * @param {Panel} panel
 */
export function startAddressBar(parts, history, state, panel) {
  const page = nameOfTab();
  let written = /** @type {Entry | null} */ (null); // the run that the address holds
  let before = /** @type {Entry | null} */ (null); // the run on screen while the one that the address names is being written: the address stands
  let waiting = 0;
  let naming = Promise.resolve();

  /**
   * A run that is asked for is named at once, with its last step, so that a reload asks for it again.
   * @param {Question} request
   */
  function writeRequest(request) {
    const standing = history.shown;
    // At once: its run may be here, and stored, before it is named. A place that a reload asks for again stays the place of its run.
    request.id = (request.kind === "link" && window.history.state?.request) || Math.random().toString(36).slice(2);
    naming = addressOf(request, (request.steps ?? 1) - 1).then(({ address, link }) => {
      if (!link || request.isCancelled) return;
      const isNamed = address.href === location.href; // asked for once more
      window.history[isNamed ? "replaceState" : "pushState"]({ page, request: request.id }, "", address);
      if (history.shown === standing) before = standing;
    });
  }

  // Nothing will come of it: the address is again that of the run on screen.
  function cancelRequest() {
    if (state.request) state.request.isCancelled = true;
    if (before) written = null;
    before = null;
    scheduleWrite();
  }

  async function writeRun() {
    waiting = 0;
    await naming;
    const entry = history.shown;
    if (!entry || entry === before) return;
    const place = { page, number: entry.number, step: state.chosen };
    const isAsked = Boolean(entry.request?.id) && window.history.state?.request === entry.request?.id;
    if (!entry.run.end && (isAsked || entry.request?.kind === "link")) return; // it is named already
    const { address, link } = await addressOf(requestOf(state.whole), state.chosen);
    parts.copy.disabled = !link && !entry.run.header.note;
    parts.copy.title = parts.copy.disabled ? texts.translate("head.copy.none") : "";
    // Meanwhile another run came, which names itself, or somebody went back or forward, and that address is no longer this run's.
    if (entry !== history.shown || entry === before || (!entry.run.end && !link)) return;
    const held = address.href === location.href; // an address that was opened, or gone back to
    if (written === null || written === entry || held || isAsked) window.history.replaceState(place, "", address);
    else window.history.pushState(place, "", address);
    written = entry;
    before = null;
  }

  // Ask for the run that the address names, if it names one; after the question that is being answered. The server reads the
  // link; only the step to look at and the language are read here.
  async function requestNamedRun() {
    const value = new URLSearchParams(location.search).get("run");
    before = value ? history.shown : null;
    const [first] = history.entries;
    if (!value && first !== history.shown) panel.show(first); // the address that the page began with
    const { step, language } = await readAddress();
    if (language) texts.chooseLanguage(language);
    if (!value || panel.ask("link", { value }, { kind: "run", stepToShow: step })) return;
    setTimeout(() => { if (location.search.includes(value)) requestNamedRun(); }, ADDRESS_MILLISECONDS);
  }

  /**
   * The run that a place in the history names, where it is kept here; or what it was asked for with, a moment after its end.
   * @param {Place | null} place
   * @returns {boolean}
   */
  function showPlace(place) {
    /** @param {Entry} entry */
    const isNamed = (entry) => (place?.request ? entry.request?.id === place.request : entry.number === place?.number);
    const entry = place?.page === page ? history.entries.find(isNamed) : null;
    if (!place || !entry) return false;
    [written, before] = [entry, null];
    panel.show(entry);
    panel.choose(place.step ?? entry.run.steps.length - 1);
    return true;
  }

  // When the page has come: after a reload, the runs are still here.
  async function start() {
    if (!showPlace(placeOfPage())) return requestNamedRun();
    const { language } = await readAddress();
    if (language) texts.chooseLanguage(language);
  }

  addEventListener("pagehide", () => {
    withSessionStorage((tab) => tab.setItem(LEFT_KEY, JSON.stringify(window.history.state)));
  });
  addEventListener("popstate", ({ state: place }) => {
    if (parts.root.isConnected && place && !showPlace(place)) requestNamedRun();
  });
  // Scrubbing changes the address a few times a second at most: browsers refuse more.
  const scheduleWrite = () => {
    if (waiting === 0) waiting = setTimeout(writeRun, ADDRESS_MILLISECONDS);
  };
  return { scheduleWrite, start, writeRequest, cancelRequest };
}

/**
 * Browsers forget the place of a page whose address is written while its reload waits for the server.
 * @returns {Place | null}
 */
function placeOfPage() {
  const [visit] = /** @type {PerformanceNavigationTiming[]} */ (performance.getEntriesByType("navigation"));
  if (window.history.state || visit?.type !== "reload") return window.history.state;
  return JSON.parse(withSessionStorage((tab) => tab.getItem(LEFT_KEY)) ?? "null");
}

// What the address says of the page and not of the run: the step to look at, and the language.
async function readAddress() {
  const address = new URLSearchParams(location.search);
  const fields = await fieldsOf(address.get("run") ?? "").catch(() => []);
  return { step: Number.isInteger(fields[5]) ? fields[5] : null, language: String(fields[6] ?? address.get("language") ?? "") };
}

/**
 * @param {Parts} parts
 * @param {State} state
 */
export function copyAddress(parts, state) {
  return copyText(addressOf(requestOf(state.whole), state.chosen).then(({ address }) => {
    address.searchParams.delete("embed");
    return address.href;
  }), parts.copy);
}
