// The panel: what is on screen and which step is chosen. Choosing never leaves the browser.
// `element`, `props` and `watch` are Gradio's: the panel's own element, its value, and word of a new value.

const PLAY_MILLISECONDS = 700;
const PLAY_ICON = "M7 4v16l13-8z";
const PAUSE_ICON = "M6 5h4v14H6zM14 5h4v14h-4z";

function startPanel(element, props, watch, trigger) {
  const parts = findParts(element);
  const keep = emptyKeep();
  const math = findMath(parts.root);
  const heat = findTemperature(parts.root);
  const view = { run: emptyRun(), whole: emptyRun(), chosen: -1, follow: true, waiting: false, player: null, pending: 0, models: JSON.parse(props.models ?? "[]") };

  // A value is one run as JSON Lines: the run that is streamed in goes on, or another begins.
  function receive() {
    const before = keep.streaming?.run ?? emptyRun();
    const run = readLines(before, props.value ?? "");
    if (!run.header) return;
    if (run !== before) {
      const open = keep.asked?.open;
      show(addEntry(keep, run));
      run.heard = 0;
      // Greedy decoding is followed to its last step, also where all of it came at once; a run in a file was there before.
      if (address && !run.header.note && ["run", "branch"].includes(keep.streaming.kind)) view.chosen = run.steps.length - 1;
      if (open) openTab(parts, open);
    }
    if (view.follow && run === view.whole) view.chosen = run.steps.length - 1;
    const entry = keep.streaming;
    if (run.end && entry.look !== null && run === view.whole) {
      choose(typeof entry.look === "function" ? entry.look(run) : entry.look);
      entry.look = null;
    }
    schedule();
  }

  // A run that comes whole is read from its first step, or from where it leaves another; one that grows is followed.
  function show(entry) {
    const { run, parent } = entry;
    const left = parent ? partingStep(parent.run, run) : 0;
    Object.assign(view, { run, whole: run, chosen: Math.max(0, left), follow: !run.end, drawn: 0, tableDrawn: 0, loopsDrawn: false });
    if (view.follow) view.chosen = run.steps.length - 1;
    keep.shown = entry;
    play(false);
    schedule();
  }

  // A run that was kept in a file: it is looked at, and no model is asked.
  function open(text, name) {
    show(openEntry(keep, readLines(emptyRun(), text), name));
  }

  // A run that was stopped says no more, nor does one whose connection broke; the page tells the panel.
  function ended(reason, message) {
    view.waiting = false;
    keep.asked = null;
    if (reason === "stopped") say(parts, '{"notice": ""}', trigger); // what was waited for
    if (keep.streaming && !keep.streaming.run.end) keep.streaming.run.end = { stop_reason: reason, message };
    schedule();
  }

  // Deciding is remote: the page hears of it, and answers with another run. One question at a time: false where one is open.
  function ask(kind, question, { step = null, open = null, kind: made = kind, look = null } = {}) {
    if (view.waiting || !keep.streaming?.run.end || !view.run.header) return false;
    view.waiting = true;
    if (kind !== "agree") keep.asked = { parent: keep.shown, step, kind: made, open, look };
    trigger(kind, question);
    schedule();
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
    drawHead(parts, keep.shown, view.waiting, predict.state());
    drawPoint(parts, run, predict.isOn());
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
    const { first, previous, next, last } = parts.buttons;
    first.disabled = previous.disabled = view.chosen <= 0;
    next.disabled = last.disabled = view.chosen >= predict.last();
  }

  function drawOpenTab() {
    const tab = openTabOf(parts);
    if (tab === "table") {
      drawTable(parts, view.run, view.tableDrawn);
      view.tableDrawn = view.run.steps.length;
      markRow(parts, view.chosen);
    }
    if (tab === "lesson") drawMath(math, view.run, view.chosen);
    if (tab === "whatif") drawQuestions(parts, view);
    if (tab === "compare") drawCompare(parts, keep, view);
    if (tab === "keep") drawKeep(parts, view);
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

  const panel = { choose, look, play, show, open, ended, ask, branch, moves, schedule, drawAnew };
  const predict = startPredicting(parts, view, panel);
  const tour = startTour(parts, { view, keep, math, heat, predict }, panel);
  // Only the page has an address that a server can read, and a server.
  const address = element.closest(".gradio-container") ? keepAddress(parts, keep, view, panel) : null;
  parts.copy.hidden = !address;
  listen(parts, view, keep, panel);
  listenToMath(math, panel);
  listenToTemperature(heat, panel);
  listenToClassroom(parts, panel);
  if (address) listenToKeep(parts, view, panel);
  watch("value", receive);
  watch("words", () => say(parts, props.words, trigger));
  listenToLanguage(parts, () => drawAnew(), trigger);
  receive();
  if (address) setTimeout(address.open); // after the page has its listeners
}

// The page's sentences, by where they belong: beside a field, beside Run, or beside the proof that was asked for. And the most
// choices there may be, where the model's own limit is lower than the page's: its label says so (decoding/page/wording.py). And
// whether a load is waited for: when it has ended, the list of models is looked at again.
function say(parts, words, trigger) {
  const { most, loads, ...sentences } = JSON.parse(words || "{}");
  if (trigger && parts.root.loads && !loads) trigger("loaded", {});
  if (trigger) parts.root.loads = loads;
  if (most && parts.root.limits?.["page.choices"].most !== most) {
    parts.root.limits = { "page.choices": { most } };
    trigger("language", {});
  }
  for (const [place, sentence] of Object.entries(sentences)) {
    const slot = place === "proof" ? parts.questions.proof : document.querySelector(`#${place} p`);
    if (slot) saySentence(slot, sentence);
  }
  // Who asks may have scrolled away from the places at the top.
  const said = [...document.querySelectorAll("#notice p, .problem p")].map((slot) => slot.textContent);
  parts.questions.word.textContent = said.filter(Boolean).join(" ");
}

function findParts(element) {
  const root = element.querySelector(".gs");
  const one = (selector) => root.querySelector(selector);
  const buttons = Object.fromEntries([...root.querySelectorAll("[data-go]")].map((button) => [button.dataset.go, button]));
  return {
    root,
    buttons,
    badge: one(".gs-badge"),
    model: one(".gs-model"),
    why: one(".gs-why"),
    state: one(".gs-state"),
    heard: one(".gs-heard"),
    note: one(".gs-note"),
    point: one(".gs-point"),
    copy: one(".gs-copy"),
    text: one(".gs-text"),
    promptTokens: one(".gs-prompt-tokens"),
    stepTitle: one(".gs-step-title"),
    chart: one(".gs-chart"),
    plot: one(".gs-plot"),
    bars: one(".gs-bars"),
    numbers: one(".gs-numbers"),
    strip: one(".gs-strip"),
    table: one("#gs-page-table table"),
    colour: one(".gs-colour"),
    questions: {
      closest: one(".gs-closest"),
      forkClosest: one('[data-ask="closest"]'),
      step: one(".gs-at"),
      own: one(".gs-own"),
      beams: one(".gs-beams"),
      beside: one(".gs-beside"),
      word: one(".gs-word"),
      score: one(".gs-score"),
      loops: one(".gs-loops"),
      proof: one(".gs-proof"),
    },
    compare: {
      list: one(".gs-list"),
      sides: one(".gs-sides"),
      models: { root: one(".gs-models"), sides: [...root.querySelectorAll(".gs-side")], table: one(".gs-aligned") },
      verdict: one(".gs-verdict"),
      left: one(".gs-left"),
      right: one(".gs-right"),
      undo: one('[data-ask="undo"]'),
      redo: one('[data-ask="redo"]'),
    },
    tabs: [...root.querySelectorAll('[role="tab"]')],
  };
}

function drawHead(parts, { run, from }, waiting, state) {
  const { model, note, remarks = [] } = run.header;
  const exact = { "float32": texts.say("head.exact"), "as printed": "", "unknown dtype": "" }[model.dtype] ?? texts.say("head.not_exact");
  parts.note.hidden = (parts.badge.hidden = !note && !from) && !remarks.length;
  parts.badge.textContent = texts.say(from ? "head.replayed" : "head.recorded");
  parts.note.textContent = [from && texts.say("head.file", { name: from }), reword(note ?? ""), ...remarks.map(reword)].filter(Boolean).join(" ");
  // What wrote the text, where that was not greedy decoding: beam search, a person.
  const another = run.header.note || model.engine.startsWith("torch") ? "" : model.engine.split(/, (?:torch|vLLM) /)[0];
  const facts = [model.id, reword(model.dtype), model.device, exact, reword(another)].filter(Boolean).join(" · ");
  parts.model.textContent = upright(facts);
  parts.why.textContent = reword(model.why ?? ""); // why on this device, in this dtype
  parts.model.title = [model.revision, model.engine].filter(Boolean).join(" · ");
  parts.state.setAttribute("aria-live", run.end ? "polite" : "off"); // while a run is written, its tokens are heard
  parts.state.textContent = state ?? stateOf(run);
  parts.root.classList.toggle("gs-running", !run.end || waiting);
  parts.root.setAttribute("aria-busy", !run.end || waiting);
}

function stateOf(run) {
  const done = run.steps.length;
  if (!run.end && done === 0) return texts.say("state.reading", { count: run.header.prompt_tokens.length });
  if (!run.end) return texts.say("state.step", { step: done, steps: run.header.max_new_tokens });
  const { logprob, perplexity } = totals(run);
  const sums = done ? [texts.say("state.sums", { logprob: number(logprob, 3), perplexity: number(perplexity, 2) })] : [];
  return [texts.say("state.done", { count: done, why: whyEnded(run) }), ...sums].join(" · ");
}

function drawStep(parts, heat, run, chosen) {
  const step = run.steps[chosen];
  parts.root.classList.toggle("gs-empty", !step);
  parts.stepTitle.textContent = step ? stepTitle(run, chosen) : texts.say("step.first");
  if (!step) return;
  drawBars(parts, stepAtTemperature(heat, step), !run.end && chosen === run.steps.length - 1);
  parts.numbers.textContent = [
    texts.say("step.logprob", { value: number(step.picked.logprob, 4) }),
    texts.say(step.entropy === null ? "step.entropy.none" : "step.entropy", { value: number(step.entropy, 3) }),
    texts.say("step.margin", { value: percent(step.margin) }),
  ].join(" · ");
}

function stepTitle(run, chosen) {
  return texts.say("step.title", { step: chosen + 1, steps: run.steps.length, token: labelOf(run.steps[chosen].picked) });
}
