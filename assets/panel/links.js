// The address bar holds the run on screen, as `decoding/links.py` writes it; back and forward walk through the runs.

const ADDRESS_MILLISECONDS = 250;

async function linkOf(run, step) {
  const { model, prompt, steps, choices, forced } = requestUpTo(run, run.steps.length);
  const text = JSON.stringify([model, prompt, steps, choices, forced, Math.max(0, step)]);
  const packed = new Blob([text]).stream().pipeThrough(new CompressionStream("deflate-raw"));
  const bytes = new Uint8Array(await new Response(packed).arrayBuffer());
  const letters = btoa(String.fromCharCode(...bytes));
  return `1${letters.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`;
}

function keepAddress(parts, keep, view, panel) {
  let written = null; // the run that the address holds
  let waiting = 0;

  async function write() {
    waiting = 0;
    const entry = keep.shown;
    if (!entry?.run.end || entry.kind === "beam" || entry.kind === "score") return; // not a run that greedy decoding writes
    const address = new URL(location.href);
    if (entry.run.header.note) address.searchParams.delete("run");
    else address.searchParams.set("run", await linkOf(entry.run, view.chosen));
    const state = { name: entry.name, step: view.chosen };
    if (written === null || written === entry) history.replaceState(state, "", address);
    else history.pushState(state, "", address);
    written = entry;
  }

  addEventListener("popstate", ({ state }) => {
    if (!parts.root.isConnected || !state) return;
    const entry = keep.entries.find(({ name }) => name === state.name);
    if (!entry) return openAddress(panel);
    written = entry;
    panel.show(entry);
    panel.choose(state.step);
  });
  // Scrubbing changes the address a few times a second at most: browsers refuse more.
  return () => {
    waiting ||= setTimeout(write, ADDRESS_MILLISECONDS);
  };
}

// Ask for the run that the address names, if it names one. The server reads the link; only the step to look at is read here.
async function openAddress(panel) {
  const value = new URLSearchParams(location.search).get("run");
  if (!value) return;
  panel.ask("link", { value }, { kind: "run", look: await stepOf(value).catch(() => null) });
}

async function stepOf(value) {
  const letters = atob(value.slice(1).replaceAll("-", "+").replaceAll("_", "/"));
  const packed = new Blob([Uint8Array.from(letters, (letter) => letter.charCodeAt(0))]).stream();
  const fields = JSON.parse(await new Response(packed.pipeThrough(new DecompressionStream("deflate-raw"))).text());
  return Number.isInteger(fields[5]) ? fields[5] : null;
}

async function copyAddress(button) {
  const said = button.textContent;
  try {
    await navigator.clipboard.writeText(location.href);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Copy it from the address bar";
  }
  setTimeout(() => { button.textContent = said; }, 2000);
}
