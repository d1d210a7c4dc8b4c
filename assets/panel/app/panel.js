// The panel: what is on screen and which step is chosen. Choosing never leaves the browser.
// `element`, `props` and `watch` are Gradio's: the panel's own element, its value, and word of a new value. `onPage` is what only the
// page can do, and null where the panel stands in a file (surface.js).

import { addEntry, emptyKeep, openEntry } from "../core/history.js";
import { emptyRun, readLines, requestUpTo } from "../core/run.js";
import { texts } from "../core/texts.js";
import { drawPoint } from "../view/example_point.js";
import { drawHead, drawStep } from "../view/head.js";
import { say } from "../view/messages.js";
import { findParts } from "../view/parts.js";
import { hear } from "../view/screen_reader_log.js";
import { openTab, openTabOf } from "../view/tab_list.js";
import { findTemperature, listenToTemperature } from "../view/temperature.js";
import { drawText, markChip, markLoops } from "../view/text.js";
import { drawStrip, markStrip } from "../view/timeline.js";
import { drawMath, findMath, listenToMath } from "../tabs/formulas.js";
import { drawMap, listenToMap } from "../tabs/heatmap.js";
import { drawTable, listenToTable, markRow } from "../tabs/table.js";
import { drawQuestions } from "../tabs/whatif.js";
import { listenToClassroom } from "./classroom_view.js";
import { listen } from "./controls.js";
import { listenToLanguage } from "./language_switch.js";
import { startPredicting } from "./predict.js";
import { startTour } from "./tour.js";

const PLAY_MILLISECONDS = 700;
const PLAY_ICON = "M7 4v16l13-8z";
const PAUSE_ICON = "M6 5h4v14H6zM14 5h4v14h-4z";

export function startPanel(element, props, watch, trigger, onPage = null) {
  const parts = findParts(element);
  const keep = emptyKeep();
  const math = findMath(parts.root);
  const heat = findTemperature(parts.root);
  const view = { run: emptyRun(), whole: emptyRun(), chosen: -1, follow: true, place: null, waiting: false, player: null, pending: 0, models: JSON.parse(props.models ?? "[]"), fields: null, request: null, silent: false };
  const silence = onPage?.listenForSilence(view, keep, () => schedule());

  // A value is one run as JSON Lines: the run that is streamed in goes on, or another begins.
  function receive() {
    const before = keep.streaming?.run ?? emptyRun();
    const run = readLines(before, props.value ?? "");
    if (!run.header) return;
    if (run !== before) {
      const open = keep.asked?.open;
      // The fields that Run was pressed with are the run's already, or typed in since; and the first run is the page's own.
      const follows = keep.asked ? keep.asked.follows : Boolean(keep.shown) && (!view.request || Boolean(run.header.note));
      const entry = addEntry(keep, run);
      if (run.header.note) address?.release(); // nothing comes any more of what was asked for
      else entry.request = view.request;
      view.request = null;
      show(entry, { follows });
      run.heard = 0;
      // Greedy decoding is followed to its last step, also where all of it came at once; a run in a file was there before.
      if (address && !run.header.note && keep.streaming.kind === "run") view.chosen = run.steps.length - 1;
      if (open) openTab(parts, open);
    }
    if (view.follow && run === view.whole) view.chosen = run.steps.length - 1;
    if (view.place !== null && run === view.whole) view.chosen = Math.min(view.place, run.steps.length - 1);
    const entry = keep.streaming;
    if (run.end && entry.look !== null && run === view.whole) {
      choose(typeof entry.look === "function" ? entry.look(run) : entry.look);
      entry.look = null;
    }
    silence?.broken();
    schedule();
  }

  // A run that comes whole is read from its first step, or from where it leaves another; one that grows is followed, but for a fork:
  // it stays at the step where it was made. The fields follow it.
  function show(entry, { follows = true } = {}) {
    const { run, parent } = entry;
    const left = parent ? onPage.partingStep(parent.run, run) : 0; // only the page asks for another run
    const place = !run.end && entry.kind === "branch" ? entry.leftAt : null;
    Object.assign(view, { run, whole: run, chosen: Math.max(0, left), follow: !run.end && place === null, place, drawn: 0, tableDrawn: 0, loopsDrawn: false });
    if (view.follow) view.chosen = run.steps.length - 1;
    if (place !== null) view.chosen = Math.min(place, run.steps.length - 1);
    keep.shown = entry;
    if (follows) fields?.follow(run);
    play(false);
    schedule();
  }

  // A run that was kept in a file: it is looked at, and no model is asked.
  function open(text, name) {
    show(openEntry(keep, readLines(emptyRun(), text), name));
  }

  // Run was pressed: what was asked for, before anything has come of it.
  function pressed(request) {
    view.fields = request;
    begin(request);
  }

  function begin(request) {
    view.request = request;
    address?.name(request);
    silence?.begins();
    schedule();
  }

  // A run that was stopped says no more, nor does one whose connection broke; the page tells the panel.
  function ended(reason, message) {
    view.waiting = false;
    keep.asked = null;
    if (reason === "stopped" && view.request) address?.release();
    view.request = null;
    if (reason === "stopped") say(parts, '{"notice": ""}', trigger); // what was waited for
    if (keep.streaming && !keep.streaming.run.end) keep.streaming.run.end = { stop_reason: reason, message };
    silence?.broken();
    schedule();
  }

  // Deciding is remote: the page hears of it, and answers with another run. One question at a time: false where one is open.
  function ask(kind, question, { step = null, open = null, kind: made = kind, look = null } = {}) {
    if (view.waiting || !keep.streaming?.run.end || !view.run.header) return false;
    view.waiting = true;
    if (kind !== "agree") keep.asked = { parent: keep.shown, step, kind: made, open, look, follows: !onPage?.isApart(view, view.whole) };
    trigger(kind, question);
    begin(kind === "branch" && !("text" in question) ? question : { kind });
    return true;
  }

  function branch(step, tokenId, open) {
    if (predict.isOn() || view.run.steps[step].picked.token_id === tokenId) return;
    const request = requestUpTo(view.run, step);
    ask("branch", { ...request, forced: [...request.forced, [step, tokenId]] }, { step, open });
  }

  function choose(step) {
    const last = predict.last();
    if (last < 0) return;
    view.chosen = Math.min(Math.max(step, 0), last);
    view.place = null;
    view.follow = view.chosen === last && !view.whole.end && !predict.isOn();
    schedule();
  }

  // A step of one of the runs that are kept, which comes on screen with it.
  function look(entry, step) {
    if (entry !== keep.shown) show(entry);
    choose(step);
  }

  // In another language.
  function drawAnew() {
    Object.assign(view, { drawn: 0, tableDrawn: 0, loopsDrawn: false });
    parts.bars.listed = null;
    say(parts, "");
    schedule();
  }

  // However fast steps come, one drawing a frame at most.
  function schedule() {
    if (view.pending) return;
    view.pending = requestAnimationFrame(() => {
      view.pending = 0;
      if (view.run.header) draw();
    });
  }

  function draw() {
    const run = (view.run = predict.seen(view.whole));
    view.chosen = Math.min(view.chosen, predict.last());
    drawHead(parts, view, keep.shown, { state: predict.state(), isHere: Boolean(onPage) });
    onPage?.drawOld(parts, view, view.whole);
    drawPoint(parts, run, predict.isOn());
    onPage?.drawFork(parts, keep, predict.isOn());
    onPage?.drawForks(parts, keep, predict.isOn());
    hear(parts, view.whole, run);
    drawText(parts, run, view.drawn);
    drawStrip(parts, run, view.drawn);
    view.drawn = run.steps.length;
    if (run.end && !view.loopsDrawn) markLoops(parts, run);
    view.loopsDrawn = Boolean(run.end);
    markChip(parts, view.chosen);
    markStrip(parts, run, view.chosen);
    drawStep(parts, heat, run, view.chosen);
    predict.draw();
    drawOpenTab();
    tour.draw();
    address?.schedule();
    onPage?.storeRuns(keep);
    const { first, previous, next, last } = parts.buttons;
    first.disabled = previous.disabled = view.chosen <= 0;
    next.disabled = last.disabled = view.chosen >= predict.last();
  }

  function drawOpenTab() {
    const tab = openTabOf(parts);
    if (tab === "table" && parts.tableView.value === "map") drawMap(parts, view.run, view.chosen);
    else if (tab === "table") {
      drawTable(parts, view.run, view.tableDrawn === 0);
      view.tableDrawn = view.run.steps.length;
      markRow(parts, view.chosen);
    }
    if (tab === "lesson") drawMath(math, view.run, view.chosen);
    if (tab === "whatif") drawQuestions(parts, view);
    if (tab === "whatif") onPage?.drawOtherModels(parts, view);
    if (tab === "compare") onPage.drawCompare(parts, keep, view);
    if (tab === "keep") onPage.drawKeep(parts, view);
  }

  function play(on) {
    clearInterval(view.player);
    view.player = null;
    if (on && !predict.isOn()) {
      if (view.chosen >= view.run.steps.length - 1) choose(0);
      view.player = setInterval(() => {
        if (view.chosen >= view.run.steps.length - 1 && view.run.end) return play(false);
        choose(view.chosen + 1);
      }, PLAY_MILLISECONDS);
    }
    const { play: button } = parts.buttons;
    button.querySelector("path").setAttribute("d", on ? PAUSE_ICON : PLAY_ICON);
    Object.assign(button.dataset, { textTitle: on ? "player.pause.title" : "player.play.title", textLabel: on ? "player.pause" : "player.play" });
    texts.fill(parts.root);
  }

  const moves = {
    first: () => choose(0),
    previous: () => choose(view.chosen - 1),
    next: () => choose(view.chosen + 1),
    last: () => choose(predict.last()),
    play: () => play(!view.player),
  };

  const panel = { choose, look, play, show, open, ended, pressed, ask, branch, moves, schedule, drawAnew };
  const predict = startPredicting(parts, view, panel);
  const tour = startTour(parts, { view, keep, math, heat, predict }, panel);
  // Only the page has an address that a server can read, and a server.
  const address = onPage && onPage.keepAddress(parts, keep, view, panel);
  const fields = onPage && onPage.followFields(parts, view, panel, trigger);
  parts.copy.hidden = !address;
  listen(parts, view, keep, panel, onPage);
  listenToMath(math, panel);
  listenToTemperature(heat, panel);
  listenToTable(parts, view);
  listenToMap(parts, panel);
  listenToClassroom(parts, panel);
  if (onPage) onPage.listenToKeep(parts, view, panel, onPage.convert);
  watch("value", receive);
  watch("words", () => say(parts, props.words, trigger));
  listenToLanguage(parts, () => drawAnew(), trigger);
  if (onPage) onPage.restoreRuns(keep, readLines(emptyRun(), props.value ?? ""));
  if (keep.shown) show(keep.shown, { follows: false });
  else receive();
  if (address) setTimeout(address.begin); // after the page has its listeners
}
