// The panel: what is on screen and which step is chosen. Choosing never leaves the browser. `element`, `props` and `watch` are Gradio's: the
// panel's element, its values, and how to learn of a new one. `onPage` is what only a page can do (page_features.js); null in a file.

import { addEntry, clearStepToShow, expectBranch, forgetPlaceToShow, forgetQuestion, openEntry, showEntry } from "../core/history.js";
import { addPromptScores, emptyRun, endEarly, readLines, requestUpTo } from "../core/run.js";
import { ANSWERED_HERE, emptyState, update } from "../core/state.js";
import { drawExamplePoint } from "../view/example_point.js";
import { drawHead, drawStep } from "../view/header_lines.js";
import { showMessages } from "../view/messages.js";
import { findParts } from "../view/panel_elements.js";
import { logTokens } from "../view/screen_reader_log.js";
import { drawFirstSteps, drawLoopMarks, drawSteps } from "../view/steps.js";
import { bringTabIntoSight, openTabOf, selectTab } from "../view/tab_list.js";
import { findTemperature, listenToTemperature } from "../view/temperature.js";
import { markChip } from "../view/text.js";
import { markTimeline } from "../view/timeline.js";
import { drawFormulas, findFormulas, listenToFormulas } from "../tabs/formulas.js";
import { drawHeatmap, listenToHeatmap } from "../tabs/heatmap.js";
import { drawTable, isTableDue, listenToTable, readTable } from "../tabs/table.js";
import { drawWhatIf } from "../tabs/whatif.js";
import { drawWhy } from "../tabs/why.js";
import { listenToClassroom } from "./classroom_view.js";
import { listenToControls } from "./controls.js";
import { startDrawing } from "./drawing_pace.js";
import { listenToLanguage } from "./language_switch.js";
import { makePlayer } from "./playback.js";
import { startPredicting } from "./predict.js";
import { startTour } from "./tour.js";

/** @import { Kind } from "../core/history.js" */
/** @import { PageFeatures } from "./page_features.js" */
/** @import { Panel, Question, Trigger } from "../core/state.js" */

/** @typedef {{ value?: string, words?: string, begun_number?: string, models?: string }} Props Gradio's: the run as JSON Lines, messages, a number that changes when the server begins to answer, the models */

/**
 * @param {Element} element
 * @param {Props} props
 * @param {(name: keyof Props, onChange: () => void) => void} watch
 * @param {Trigger} trigger
 * @param {PageFeatures | null} [onPage]
 * @param {PageFeatures["drawLensPicture"]} [drawLensPicture] where plotly.js is or may come
 */
export function startPanel(element, props, watch, trigger, onPage = null, drawLensPicture = onPage?.drawLensPicture) {
  const parts = findParts(element);
  const formulas = findFormulas(parts.root);
  const temperature = findTemperature(parts.root);
  const state = emptyState(JSON.parse(props.models ?? "[]"));
  const { history } = state;
  const drawn = { text: 0, table: 0, loops: false }; // steps that are drawn already, and whether loops are marked
  const { schedule, scheduleTab, scheduleGrowth } = startDrawing(() => state.run.header && draw(), drawRest);
  const silence = onPage?.startSilenceTimer(state, history, () => schedule());
  const play = makePlayer(parts, state, { choose, canPlay: () => !predict.isOn() });

  // A value is one run as JSON Lines: the run that is streamed in goes on, or another begins.
  function readValue() {
    const streaming = history.streaming?.run ?? emptyRun();
    const before = state.request && streaming.end && !streaming.closed ? emptyRun() : streaming; // a stopped one goes on in no other's lines
    const run = readLines(before, props.value ?? "");
    if (!run.header) return;
    if (run !== before) {
      const open = history.asked?.placeToShow;
      // The fields that Run was pressed with are the run's already, or typed in since; and the first run is the page's own.
      const fieldsFollow = history.asked ? history.asked.fieldsFollow : Boolean(history.shown) && (!state.request || Boolean(run.header.note));
      const entry = addEntry(history, run);
      if (state.request && !state.request.isAnswered && !run.header.note) begin();
      if (run.header.note) address?.cancelRequest(); // nothing comes any more of what was asked for
      else entry.request = state.request;
      update(state, { request: null, isLinkRefused: false });
      show(entry, { fieldsFollow });
      run.loggedTokens = entry.leftAt ?? 0; // those before a fork were read out with the run that it leaves
      // Greedy decoding is followed to its last step, also where all of it came at once; a run in a file was there before.
      if (address && !run.header.note && entry.kind === "run") update(state, { chosen: run.steps.length - 1 });
      if (open === "picture") onPage?.bringPictureIntoSight(parts.root);
      else if (open) openTab(open);
    }
    if (state.followsLast && run === state.whole) update(state, { chosen: run.steps.length - 1 });
    if (state.forkStep !== null && run === state.whole) update(state, { chosen: Math.min(state.forkStep, run.steps.length - 1) });
    const wanted = history.streaming?.stepToShow ?? null;
    if (run.end && wanted !== null && run === state.whole) {
      choose(typeof wanted === "function" ? wanted(run) : wanted);
      clearStepToShow(history);
    }
    silence?.restart();
    if (run.end || run.steps.length - drawn.text <= 1) schedule(); // of a slow model, each step is seen
    else scheduleGrowth();
  }

  // A run that comes whole is read from its first step, or from where it leaves another; one that grows is followed, but for a fork:
  // it stays at the step where it was made. The fields follow it.
  /** @type {Panel["show"]} */
  function show(entry, { fieldsFollow = true } = {}) {
    const { run, parent } = entry;
    const left = parent ? Number(onPage?.differingStep(parent.run, run)) : 0; // only the page asks for another run
    const forkStep = !run.end && entry.kind === "branch" ? entry.leftAt : null;
    const followsLast = !run.end && forkStep === null;
    const last = run.steps.length - 1;
    update(state, { run, whole: run, chosen: followsLast ? last : forkStep === null ? Math.max(0, left) : Math.min(forkStep, last), followsLast, forkStep });
    Object.assign(drawn, { text: 0, table: 0, loops: false });
    showEntry(history, entry);
    if (fieldsFollow) fields?.followRun(run);
    play(false);
    schedule();
  }

  // A run that was kept in a file: it is looked at, and no model is asked.
  /** @type {Panel["openRun"]} */
  function openRun(text, name) {
    show(openEntry(history, readLines(emptyRun(), text), name));
    onPage?.bringPictureIntoSight(parts.root);
  }

  // Run was pressed: what was asked for, before anything has come of it.
  /** @type {Panel["startRequest"]} */
  function startRequest(request) {
    update(state, { fields: request });
    waitForAnswer(request);
  }

  /** @param {Question} request */
  function waitForAnswer(request) {
    update(state, { request });
    address?.writeRequest(request);
    silence?.start();
    schedule();
  }

  // The server has begun to answer: its number says so, or the first value, where Gradio dropped the number for another that came at once.
  function begin() {
    if (state.request) state.request.isAnswered = true;
    trigger("begun", {});
    silence?.restart();
  }

  // A run that was stopped says no more, nor does one whose connection broke; the page tells the panel.
  /** @type {Panel["endRun"]} */
  function endRun(reason, message) {
    update(state, { isWaiting: false, isLinkRefused: state.isLinkRefused || state.request?.kind === "link" });
    forgetQuestion(history);
    if (reason === "stopped" && state.request) address?.cancelRequest();
    if (reason === "error" && state.request && !state.request.isAnswered) showMessages(parts, '{"notice": {"code": "unanswered"}}', trigger);
    if (reason === "stopped" && state.request?.kind === "why" && state.why) update(state, { why: { ...state.why, isStopped: true } });
    update(state, { request: null });
    if (reason === "stopped") showMessages(parts, '{"notice": ""}', trigger); // what was waited for
    if (history.streaming && !history.streaming.run.end) endEarly(history.streaming.run, reason, message);
    silence?.restart();
    schedule();
  }

  /**
   * Deciding is remote: the page hears of it, and answers with another run. One question at a time: false where one is open.
   * @type {Panel["ask"]}
   */
  function ask(kind, question, { step = null, placeToShow = null, kind: entryKind = kind, stepToShow = null, fieldsFollow = !onPage?.fieldsDiffer(state, state.whole) } = {}) {
    if (state.isWaiting || !history.streaming?.run.end || !state.run.header) return false;
    update(state, { isWaiting: true });
    if (kind === "prompt") update(state, { scoring: state.whole });
    else if (!ANSWERED_HERE.includes(kind)) expectBranch(history, { step, kind: /** @type {Kind} */ (entryKind), placeToShow, stepToShow, fieldsFollow });
    trigger(kind, question);
    waitForAnswer(kind === "branch" && !("text" in question) ? question : { kind });
    return true;
  }

  // The scores of a prompt's tokens, of the run that they were asked for.
  /** @type {Panel["addScores"]} */
  function addScores(line) {
    if (!state.scoring) return;
    addPromptScores(state.scoring, line);
    update(state, { scoring: null });
    Object.assign(drawn, { text: 0, loops: false });
    schedule();
  }

  /** @type {Panel["branch"]} */
  function branch(step, tokenId, placeToShow) {
    const picked = state.run.steps[step]?.picked;
    if (predict.isOn() || !picked || picked.token_id === tokenId) return;
    const request = requestUpTo(state.run, step);
    ask("branch", { ...request, forced: [...request.forced, [step, tokenId]] }, { step, placeToShow });
  }

  /** @type {Panel["choose"]} */
  function choose(step) {
    const last = predict.lastStep();
    if (last < 0) return;
    const chosen = Math.min(Math.max(step, 0), last);
    update(state, { chosen, forkStep: null, followsLast: chosen === last && !state.whole.end && !predict.isOn() });
    schedule();
  }

  // A step of one of the runs that are kept, which comes on screen with it.
  /** @type {Panel["showStep"]} */
  function showStep(entry, step) {
    if (entry !== history.shown) show(entry);
    choose(step);
  }

  // The tab comes into sight once it is drawn. An answer that is still to come opens no other.
  /** @type {Panel["openTab"]} */
  function openTab(name) {
    selectTab(parts, name);
    update(state, { soughtTab: name });
    forgetPlaceToShow(history);
    schedule();
  }

  // In another language.
  function redraw() {
    Object.assign(drawn, { text: 0, table: 0, loops: false });
    parts.listed.length = 0;
    showMessages(parts, "", null);
    schedule();
  }

  function draw() {
    // Where no server can be asked, there is what was asked before, or nothing: the tab is not seen first, and then gone.
    const isUnasked = !onPage && state.whole.why.size === 0;
    Object.assign(parts.root.querySelector("#gs-tab-why"), { hidden: isUnasked, disabled: isUnasked });
    const run = predict.visiblePart(state.whole);
    if (drawFirstSteps(parts, run, drawn)) return schedule(); // the rest of the picture waits for the text
    update(state, { run, chosen: Math.min(state.chosen, predict.lastStep()) });
    readTable(parts);
    predict.hideStep();
    drawStep(parts, temperature, run, state.chosen, state.followsLast && !state.whole.end); // first, because it reads the chart's size, and last what is brought into sight
    drawHead(parts, state, history.shown, { status: predict.statusSentence(), isHere: Boolean(onPage) });
    onPage?.drawStaleNote(parts, state, state.whole);
    drawExamplePoint(parts, run, predict.isOn());
    onPage?.drawForkNote(parts, history, predict.isOn());
    onPage?.drawForkTree(parts, history, predict.isOn());
    logTokens(parts, state.whole, run);
    drawSteps(parts, run, drawn);
    markTimeline(parts, run, state.chosen);
    predict.draw();
    scheduleTab();
    markChip(parts, state.chosen);
    address?.scheduleWrite();
    onPage?.storeRuns(history, state.isWaiting);
    parts.buttons.first.disabled = parts.buttons.previous.disabled = state.chosen <= 0;
    parts.buttons.next.disabled = parts.buttons.last.disabled = state.chosen >= predict.lastStep();
  }

  // In frames of their own, each of which is short.
  function drawRest() {
    if (drawLoopMarks(parts, state.run, drawn)) scheduleTab();
    else drawOpenTab();
  }

  function drawOpenTab() {
    const tab = openTabOf(parts);
    if (tab === "table" && parts.tableView.value === "map") drawHeatmap(parts, state.run, state.chosen);
    else if (tab === "table" && isTableDue(parts, state.run, drawn.table)) {
      drawTable(parts, state.run, state.chosen, drawn.table === 0);
      drawn.table = state.run.steps.length;
    }
    if (tab === "why") drawWhy(parts, state, onPage?.drawWhyQuestion, drawLensPicture);
    if (tab === "lesson") drawFormulas(formulas, state.run, state.chosen);
    if (tab === "whatif") drawWhatIf(parts, state);
    if (tab === "whatif") onPage?.drawOtherModels(parts, state);
    if (tab === "whatif") onPage?.drawSampling(parts, state);
    if (tab === "tree") onPage?.drawTrees(parts, history, state, panel);
    if (tab === "compare") onPage?.drawCompare(parts, history, state);
    if (tab === "keep") onPage?.drawExportTab(parts, state);
    bringTabIntoSight(parts, state); // before the tour, which knows better what is to be seen
    tour.draw();
  }

  const moves = {
    first: () => choose(0),
    previous: () => choose(state.chosen - 1),
    next: () => choose(state.chosen + 1),
    last: () => choose(predict.lastStep()),
    play: () => play(!state.player),
  };

  /** @type {Panel} */
  const panel = { choose, showStep, play, show, openRun, openTab, endRun, addScores, startRequest, ask, branch, moves, schedule, scheduleTab, redraw };
  const predict = startPredicting(parts, state, panel);
  const tour = startTour(parts, { state, history, formulas, temperature, predict }, panel);
  // Only the page has an address that a server can read, and a server.
  const address = onPage?.startAddressBar(parts, history, state, panel);
  const fields = onPage?.followFields(parts, state, panel, trigger);
  parts.copy.hidden = !address;
  listenToControls(parts, state, history, panel, onPage);
  listenToFormulas(formulas, panel);
  listenToTemperature(temperature, panel);
  listenToTable(parts, state, panel);
  listenToHeatmap(parts, panel);
  listenToClassroom(parts, panel);
  onPage?.listenToTrees(parts);
  if (onPage) onPage.listenToExportTab(parts, state, panel, onPage.convert);
  watch("value", readValue);
  watch("words", () => showMessages(parts, props.words ?? "", trigger));
  watch("begun_number", begin);
  listenToLanguage(parts, () => redraw(), trigger);
  if (onPage) onPage.restoreRuns(history, readLines(emptyRun(), props.value ?? ""));
  if (history.shown) show(history.shown, { fieldsFollow: false });
  else readValue();
  if (address) setTimeout(address.start); // after the page has its listeners
  onPage?.startVote?.(parts, state, history, panel, predict);
}
