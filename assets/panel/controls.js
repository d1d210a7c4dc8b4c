// Hands and keys: clicks, drags and key presses become moves of the panel. Listeners are delegated, so that nothing has to be
// attached again when a drawing is replaced.

function listen(parts, view, panel) {
  parts.root.addEventListener("click", (event) => {
    const step = event.target.closest("[data-step]")?.dataset.step;
    const go = event.target.closest("[data-go]")?.dataset.go;
    if (step !== undefined) panel.choose(Number(step));
    if (go) panel.moves[go]();
    if (step !== undefined || (go && go !== "play")) panel.play(false);
  });
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
    const go = KEYS[event.key];
    if (!go || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey || event.defaultPrevented) return;
    // Where a key has a meaning of its own, it keeps it.
    if (event.target.closest("input, textarea, select, [contenteditable], [role='tab'], [role='listbox'], [role='option']")) return;
    if (go === "play" && event.target.closest("button, summary, a")) return;
    event.preventDefault();
    if (go !== "play") panel.play(false);
    panel.moves[go]();
  }
  document.addEventListener("keydown", onKey);
}

function listenToTabs(parts, panel) {
  const open = (tab) => {
    for (const other of parts.tabs) {
      const chosen = other === tab;
      other.setAttribute("aria-selected", chosen);
      other.tabIndex = chosen ? 0 : -1;
      parts.root.querySelector(`#${other.getAttribute("aria-controls")}`).hidden = !chosen;
    }
    panel.drawOpenTable();
  };
  for (const tab of parts.tabs) {
    tab.addEventListener("click", () => open(tab));
    tab.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!move) return;
      const next = parts.tabs.at((parts.tabs.indexOf(tab) + move) % parts.tabs.length);
      next.focus();
      open(next);
    });
  }
}

// Plotly's colours and width are read from the page, and its script may come after the run: draw again when they change.
function listenToLooks(parts, panel) {
  new MutationObserver(panel.schedule).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  new ResizeObserver(panel.schedule).observe(parts.root);
  const waiting = setInterval(() => {
    if (!window.Plotly && parts.root.isConnected) return;
    clearInterval(waiting);
    panel.schedule();
  }, 100);
}
