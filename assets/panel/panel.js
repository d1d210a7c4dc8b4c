// The panel: what is on screen and which step is chosen. Choosing never leaves the browser.
// `element`, `props` and `watch` are Gradio's: the panel's own element, its value, and word of a new value.

const PLAY_MILLISECONDS = 700;
// Plotly takes 20 ms to draw, which on a small machine are 20 ms the model does not get: while text streams in, it draws so often.
const PLOT_MILLISECONDS = 120;
const PLAY_ICON = "M7 4v16l13-8z";
const PAUSE_ICON = "M6 5h4v14H6zM14 5h4v14h-4z";

function startPanel(element, props, watch) {
  const parts = findParts(element);
  const view = { run: emptyRun(), chosen: -1, follow: true, player: null, drawn: 0, tableDrawn: 0, frame: 0, plotted: 0 };

  function receive() {
    const before = view.run;
    view.run = readLines(view.run, props.value ?? "");
    if (view.run !== before) {
      // A run that comes whole is read from its first step; one that grows is followed to its last.
      Object.assign(view, { chosen: 0, follow: !view.run.end, drawn: 0, tableDrawn: 0 });
      play(false);
    }
    if (view.follow) view.chosen = view.run.steps.length - 1;
    schedule();
  }

  // A run that was stopped says no more, nor does one whose connection broke; the page tells the panel.
  function ended(reason, message) {
    if (view.run.header) view.run.end ??= { stop_reason: reason, message };
    schedule();
  }

  function choose(step) {
    const last = view.run.steps.length - 1;
    if (last < 0) return;
    view.chosen = Math.min(Math.max(step, 0), last);
    view.follow = view.chosen === last && !view.run.end;
    schedule();
  }

  // However fast steps come, one drawing a frame.
  function schedule() {
    view.frame ||= requestAnimationFrame(() => {
      view.frame = 0;
      draw();
    });
  }

  function draw() {
    const { run } = view;
    if (!run.header) return;
    drawHead(parts, run);
    drawText(parts, run, view.drawn);
    drawStrip(parts, run, view.drawn);
    view.drawn = run.steps.length;
    markChip(parts, view.chosen);
    markStrip(parts, run, view.chosen);
    drawStep(parts, run, view.chosen, plotNow());
    drawOpenTable();
    const { first, previous, next, last } = parts.buttons;
    first.disabled = previous.disabled = view.chosen <= 0;
    next.disabled = last.disabled = view.chosen >= run.steps.length - 1;
  }

  function plotNow() {
    const streaming = view.follow && !view.run.end;
    const wait = streaming ? view.plotted + PLOT_MILLISECONDS - performance.now() : 0;
    if (wait > 0) setTimeout(schedule, wait); // the last step that came has to be drawn too
    else view.plotted = performance.now();
    return wait <= 0;
  }

  function drawOpenTable() {
    if (parts.table.closest('[role="tabpanel"]').hidden) return;
    drawTable(parts, view.run, view.tableDrawn);
    view.tableDrawn = view.run.steps.length;
    markRow(parts, view.chosen);
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

  listen(parts, view, { choose, play, ended, moves, schedule, drawOpenTable });
  watch("value", receive);
  receive();
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
    state: one(".gs-state"),
    note: one(".gs-note"),
    text: one(".gs-text"),
    promptTokens: one(".gs-prompt-tokens"),
    stepTitle: one(".gs-step-title"),
    plot: one(".gs-plot"),
    bars: one(".gs-bars"),
    numbers: one(".gs-numbers"),
    strip: one(".gs-strip"),
    table: one(".gs-table"),
    tabs: [...root.querySelectorAll('[role="tab"]')],
  };
}

function drawHead(parts, run) {
  const { model, note } = run.header;
  const exact = model.dtype === "float32" ? "exact" : model.dtype === "as printed" ? "" : "not exact";
  parts.badge.hidden = parts.note.hidden = !note;
  parts.note.textContent = note ?? "";
  parts.model.textContent = [model.id, model.dtype, model.device, exact].filter(Boolean).join(" · ");
  parts.model.title = [model.revision, model.engine].filter(Boolean).join(" · ");
  parts.state.textContent = stateOf(run);
  parts.root.classList.toggle("gs-running", !run.end);
}

function stateOf(run) {
  const done = run.steps.length;
  if (!run.end && done === 0) return `Reading the prompt (${run.header.prompt_tokens.length} tokens) …`;
  if (!run.end) return `Step ${done} of ${run.header.max_new_tokens} …`;
  const { logprob, perplexity } = totals(run);
  const sums = done ? ` · log-probability ${number(logprob, 3)} · perplexity ${number(perplexity, 2)}` : "";
  return `${done} ${done === 1 ? "step" : "steps"}, ${whyEnded(run)}${sums}`;
}

function drawStep(parts, run, chosen, plotToo) {
  const step = run.steps[chosen];
  parts.root.classList.toggle("gs-empty", !step);
  parts.stepTitle.textContent = step ? `Step ${chosen + 1} of ${run.steps.length}: ${labelOf(step.picked)}` : "The first step";
  if (!step) return;
  drawBars(parts, step, plotToo);
  parts.numbers.textContent = [
    `log-probability ${number(step.picked.logprob, 4)}`,
    `entropy ${number(step.entropy, 3)}${step.entropy === null ? "" : " nats"}`,
    `margin ${percent(step.margin)}`,
  ].join(" · ");
}
