// Hands and keys: clicks, drags and key presses become moves of the panel. Listeners are delegated, so that nothing has to be
// attached again when a drawing is replaced.

function listen(parts, view, keep, panel, onPage) {
  parts.root.addEventListener("click", (event) => {
    if (onPage?.asksFirst(parts, view, event)) return;
    const at = event.target.closest("[data-step], [data-go], [data-candidate], [data-fork], [data-ask], [data-show], [data-remove], [data-token]");
    const { step, go, candidate, at: place, fork, ask, show, remove, of, token } = at?.dataset ?? {};
    // What is said of a question stands below it: on a phone, the top of the page is far away.
    if (ask || fork !== undefined) at.closest(".gs-questions > section")?.append(parts.questions.word);
    if (candidate !== undefined) panel.branch(Number(place ?? view.chosen), Number(candidate));
    else if (fork !== undefined) panel.branch(Number(place), Number(fork), "compare");
    else if (step !== undefined) panel.choose(Number(step));
    else if (go) panel.moves[go]();
    else if (ask) asks[ask]();
    else if (token !== undefined) panel.look(keep.entries[of], Number(token));
    else if (show !== undefined) panel.show(keep.entries[show]);
    else if (remove !== undefined) keepAfter(() => removeEntry(keep, keep.entries[remove]));
    if (step !== undefined || candidate !== undefined || (go && go !== "play")) panel.play(false);
  });
  const keepAfter = (move) => {
    move();
    panel.show(keep.shown);
  };
  // The fork's own Undo: the run that it left, at the step where the reader is.
  const unfork = () => {
    const { chosen } = view;
    keepAfter(() => undo(keep));
    panel.choose(chosen);
    parts.strip.focus({ preventScroll: true }); // the button is gone
  };
  const { own, beams, score, beside } = parts.questions;
  const whole = () => requestUpTo(view.run, 0);
  const asks = {
    unfork,
    undo: () => keepAfter(() => undo(keep)),
    redo: () => keepAfter(() => redo(keep)),
    closest: () => {
      const [call] = closestCalls(view.run);
      if (call) panel.branch(call.index, call.candidates[1].token_id, "compare");
    },
    own: () => panel.ask("branch", { ...requestUpTo(view.run, view.chosen), at: view.chosen, text: own.value }, { step: view.chosen }),
    beam: () => panel.ask("beam", { ...whole(), steps: view.run.steps.length, beams: Number(beams.value) }, { open: "compare" }),
    score: () => panel.ask("score", { ...whole(), text: score.value }, { open: "compare" }),
    beside: () => {
      const { run } = view;
      panel.ask("branch", { ...whole(), model: beside.value }, { kind: "beside", open: "compare", look: (other) => onPage.partingStep(run, other) });
    },
    agree: () => panel.ask("agree", { model: view.run.header.model.id, run: jsonLines(view.run) }),
  };
  parts.copy.addEventListener("click", () => onPage?.copyAddress(parts, view));
  for (const select of [parts.compare.left, parts.compare.right]) select.addEventListener("change", panel.schedule);
  parts.axis.zoom.addEventListener("click", () => {
    const { zoom } = parts.axis;
    zoom.setAttribute("aria-pressed", zoom.getAttribute("aria-pressed") !== "true");
    panel.schedule();
  });
  // What is said of the model lies over the text, and goes with a click elsewhere or Escape.
  document.addEventListener("click", ({ target }) => { if (!parts.about.contains(target)) parts.about.open = false; });
  parts.about.addEventListener("keydown", ({ key }) => { if (key === "Escape") parts.about.open = false; });
  parts.about.addEventListener("toggle", panel.schedule);
  parts.colour.addEventListener("change", () => { parts.root.dataset.colour = parts.colour.value; });
  parts.strip.addEventListener("pointerdown", (event) => {
    parts.strip.setPointerCapture(event.pointerId);
    panel.play(false);
    panel.choose(stepAt(parts, view.run, event.clientX));
  });
  parts.strip.addEventListener("pointermove", (event) => {
    if (event.buttons & 1) panel.choose(stepAt(parts, view.run, event.clientX));
  });
  parts.root.addEventListener("ended", (event) => panel.ended(event.detail.reason, event.detail.message));
  listenToTabs(parts, panel);
  listenToKeys(parts, panel);
  listenToLooks(parts, panel);
}

const KEYS = { ArrowLeft: "previous", ArrowRight: "next", Home: "first", End: "last", " ": "play" };

function listenToKeys(parts, panel) {
  function onKey(event) {
    if (!parts.root.isConnected) return document.removeEventListener("keydown", onKey);
    if (isComposing(event)) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.defaultPrevented) return document.querySelector("#run:enabled")?.click();
    const go = KEYS[event.key];
    const along = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if ((!go && !along) || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey || event.defaultPrevented) return;
    // Where a key has a meaning of its own, it keeps it.
    if (event.target.closest("input, textarea, select, [contenteditable], [role='tab'], [role='listbox'], [role='option']")) return;
    if (go === "play" && event.target.closest("button, summary, a")) return;
    if (along && !parts.root.contains(event.target)) return; // elsewhere these keys scroll the page
    event.preventDefault();
    if (along) return walkCandidates(parts, along);
    if (go !== "play") panel.play(false);
    panel.moves[go]();
  }
  document.addEventListener("keydown", onKey);
}

// While a word is put together of letters, as Korean is written, no key is a shortcut. Safari tells it by the code 229.
function isComposing(event) {
  return event.isComposing || event.keyCode === 229;
}

function walkCandidates(parts, along) {
  const buttons = candidateButtons(parts);
  const place = buttons.indexOf(document.activeElement);
  const next = place < 0 ? 0 : Math.min(Math.max(place + along, 0), buttons.length - 1);
  buttons[next]?.focus();
}

function openTab(parts, name) {
  for (const tab of parts.tabs) {
    const chosen = tab.id === `gs-tab-${name}`;
    tab.setAttribute("aria-selected", chosen);
    tab.tabIndex = chosen ? 0 : -1;
    parts.root.querySelector(`#${tab.getAttribute("aria-controls")}`).hidden = !chosen;
  }
}

function openTabOf(parts) {
  return parts.tabs.find((tab) => tab.getAttribute("aria-selected") === "true").id.replace("gs-tab-", "");
}

function listenToTabs(parts, panel) {
  const open = (tab) => {
    openTab(parts, tab.id.replace("gs-tab-", ""));
    panel.schedule();
  };
  for (const tab of parts.tabs) {
    tab.addEventListener("click", () => open(tab));
    tab.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!move) return;
      const tabs = parts.tabs.filter(({ disabled }) => !disabled);
      const next = tabs.at((tabs.indexOf(tab) + move) % tabs.length);
      next.focus();
      open(next);
    });
  }
}

// Plotly's colours and width are read from the page, and its script may come after the run: draw again when they change.
function listenToLooks(parts, panel) {
  new MutationObserver(panel.schedule).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  let width = parts.root.clientWidth;
  new ResizeObserver(() => {
    if (parts.root.clientWidth !== width) panel.schedule();
    width = parts.root.clientWidth;
  }).observe(parts.root);
  let tries = 600; // a minute: a file without plotly.js never has it
  const waiting = setInterval(() => {
    if (!window.Plotly && parts.root.isConnected && --tries) return;
    clearInterval(waiting);
    panel.schedule();
  }, 100);
}
