// The panel: what is on screen and which step is chosen. Choosing never leaves the browser.
// `element`, `props` and `watch` are Gradio's: the panel's own element, its value, and word of a new value.

const PLAY_MILLISECONDS = 700;
// A drawing takes tens of milliseconds, which on a small machine are milliseconds that the model does not get: while text streams
// in, so often and no more.
const STREAM_MILLISECONDS = 150;
const PLAY_ICON = "M7 4v16l13-8z";
const PAUSE_ICON = "M6 5h4v14H6zM14 5h4v14h-4z";

function startPanel(element, props, watch, trigger) {
  const parts = findParts(element);
  const keep = emptyKeep();
  const view = { run: emptyRun(), chosen: -1, follow: true, waiting: false, player: null, pending: null, timer: 0, drawnAt: 0, models: JSON.parse(props.models ?? "[]") };

  // A value is one run as JSON Lines: the run that is streamed in goes on, or another begins.
  function receive() {
    const before = keep.streaming?.run ?? emptyRun();
    const run = readLines(before, props.value ?? "");
    if (!run.header) return;
    if (run !== before) {
      const open = keep.asked?.open;
      show(addEntry(keep, run));
      // Greedy decoding is followed to its last step, also where all of it came at once; a run in a file was there before.
      if (address && !run.header.note && ["run", "branch"].includes(keep.streaming.kind)) view.chosen = run.steps.length - 1;
      if (open) openTab(parts, open);
    }
    if (view.follow && run === view.run) view.chosen = run.steps.length - 1;
    const entry = keep.streaming;
    if (run.end && entry.look !== null && run === view.run) {
      choose(typeof entry.look === "function" ? entry.look(run) : entry.look);
      entry.look = null;
    }
    schedule();
  }

  // A run that comes whole is read from its first step, or from where it leaves another; one that grows is followed.
  function show(entry) {
    const { run, parent } = entry;
    const left = parent ? partingStep(parent.run, run) : 0;
    Object.assign(view, { run, chosen: Math.max(0, left), follow: !run.end, drawn: 0, tableDrawn: 0, loopsDrawn: false });
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
    if (view.run.steps[step].picked.token_id === tokenId) return;
    const request = requestUpTo(view.run, step);
    ask("branch", { ...request, forced: [...request.forced, [step, tokenId]] }, { step, open });
  }

  function choose(step) {
    const last = view.run.steps.length - 1;
    if (last < 0) return;
    view.chosen = Math.min(Math.max(step, 0), last);
    view.follow = view.chosen === last && !view.run.end;
    schedule();
  }

  // A step of one of the runs that are kept, which comes on screen with it.
  function look(entry, step) {
    if (entry !== keep.shown) show(entry);
    choose(step);
  }

  // However fast steps come, one drawing a frame at most, and fewer while they stream in and nobody looks elsewhere.
  function schedule() {
    const streaming = view.follow && view.drawn > 0 && !view.run.end; // the first step is drawn at once
    const wait = streaming ? view.drawnAt + STREAM_MILLISECONDS - performance.now() : 0;
    if (view.pending === "frame" || (view.pending === "later" && wait > 0)) return;
    clearTimeout(view.timer);
    view.pending = wait > 0 ? "later" : "frame";
    if (wait > 0) view.timer = setTimeout(frame, wait);
    else frame();
  }

  function frame() {
    view.pending = "frame";
    requestAnimationFrame(() => {
      view.pending = null;
      view.drawnAt = performance.now();
      if (view.run.header) draw();
    });
  }

  function draw() {
    const { run } = view;
    drawHead(parts, keep.shown, view.waiting);
    drawText(parts, run, view.drawn);
    drawStrip(parts, run, view.drawn);
    view.drawn = run.steps.length;
    if (run.end && !view.loopsDrawn) markLoops(parts, run);
    view.loopsDrawn = Boolean(run.end);
    markChip(parts, view.chosen);
    markStrip(parts, run, view.chosen);
    drawStep(parts, run, view.chosen);
    drawOpenTab();
    address?.schedule();
    const { first, previous, next, last } = parts.buttons;
    first.disabled = previous.disabled = view.chosen <= 0;
    next.disabled = last.disabled = view.chosen >= run.steps.length - 1;
  }

  function drawOpenTab() {
    const tab = openTabOf(parts);
    if (tab === "table") {
      drawTable(parts, view.run, view.tableDrawn);
      view.tableDrawn = view.run.steps.length;
      markRow(parts, view.chosen);
    }
    if (tab === "whatif") drawQuestions(parts, view);
    if (tab === "compare") drawCompare(parts, keep, view);
    if (tab === "keep") drawKeep(parts, view);
  }

  function play(on) {
    clearInterval(view.player);
    view.player = null;
    if (on) {
      if (view.chosen >= view.run.steps.length - 1) choose(0);
      view.player = setInterval(() => {
        if (view.chosen >= view.run.steps.length - 1 && view.run.end) return play(false);
        choose(view.chosen + 1);
      }, PLAY_MILLISECONDS);
    }
    const { play: button } = parts.buttons;
    button.querySelector("path").setAttribute("d", on ? PAUSE_ICON : PLAY_ICON);
    button.title = on ? "Pause (space)" : "Play (space)";
    button.setAttribute("aria-label", on ? "Pause" : "Play");
  }

  const moves = {
    first: () => choose(0),
    previous: () => choose(view.chosen - 1),
    next: () => choose(view.chosen + 1),
    last: () => choose(view.run.steps.length - 1),
    play: () => play(!view.player),
  };

  const panel = { choose, look, play, show, open, ended, ask, branch, moves, schedule };
  // Only the page has an address that a server can read, and a server.
  const address = element.closest(".gradio-container") ? keepAddress(parts, keep, view, panel) : null;
  parts.copy.hidden = !address;
  listen(parts, view, keep, panel);
  if (address) listenToKeep(parts, view, panel);
  watch("value", receive);
  watch("words", () => say(parts, props.words));
  receive();
  if (address) setTimeout(address.open); // after the page has its listeners
}

// The page's sentences, by where they belong: beside a field, beside Run, or beside the proof that was asked for.
function say(parts, words) {
  for (const [place, sentence] of Object.entries(JSON.parse(words || "{}"))) {
    const slot = place === "proof" ? parts.questions.proof : document.querySelector(`#${place} p`);
    if (slot) slot.textContent = sentence;
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
    note: one(".gs-note"),
    copy: one(".gs-copy"),
    text: one(".gs-text"),
    promptTokens: one(".gs-prompt-tokens"),
    stepTitle: one(".gs-step-title"),
    chart: one(".gs-chart"),
    plot: one(".gs-plot"),
    bars: one(".gs-bars"),
    numbers: one(".gs-numbers"),
    strip: one(".gs-strip"),
    table: one(".gs-table"),
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

function drawHead(parts, { run, from }, waiting) {
  const { model, note } = run.header;
  const exact = model.dtype === "float32" ? "exact" : model.dtype === "as printed" ? "" : "not exact";
  parts.badge.hidden = parts.note.hidden = !note && !from;
  parts.badge.textContent = from ? "Replayed" : "Recorded";
  parts.note.textContent = [from && `Replayed from the file ${from}; no model computed it here.`, note].filter(Boolean).join(" ");
  // What wrote the text, where that was not greedy decoding: beam search, a person.
  const another = run.header.note || model.engine.startsWith("torch") ? "" : model.engine.split(", torch")[0];
  parts.model.textContent = [model.id, model.dtype, model.device, exact, another].filter(Boolean).join(" · ");
  parts.why.textContent = model.why ?? ""; // why on this device, in this dtype
  parts.model.title = [model.revision, model.engine].filter(Boolean).join(" · ");
  parts.state.textContent = stateOf(run);
  parts.root.classList.toggle("gs-running", !run.end || waiting);
  parts.root.setAttribute("aria-busy", !run.end || waiting);
}

function stateOf(run) {
  const done = run.steps.length;
  if (!run.end && done === 0) return `Reading the prompt (${run.header.prompt_tokens.length} tokens) …`;
  if (!run.end) return `Step ${done} of ${run.header.max_new_tokens} …`;
  const { logprob, perplexity } = totals(run);
  const sums = done ? ` · log-probability ${number(logprob, 3)} · perplexity ${number(perplexity, 2)}` : "";
  return `${done} ${done === 1 ? "step" : "steps"}, ${whyEnded(run)}${sums}`;
}

function drawStep(parts, run, chosen) {
  const step = run.steps[chosen];
  parts.root.classList.toggle("gs-empty", !step);
  parts.stepTitle.textContent = step ? `Step ${chosen + 1} of ${run.steps.length}: ${labelOf(step.picked)}` : "The first step";
  if (!step) return;
  drawBars(parts, step, !run.end && chosen === run.steps.length - 1);
  parts.numbers.textContent = [
    `log-probability ${number(step.picked.logprob, 4)}`,
    `entropy ${number(step.entropy, 3)}${step.entropy === null ? "" : " nats"}`,
    `margin ${percent(step.margin)}`,
  ].join(" · ");
}
