// The address bar holds the run on screen, as `decoding/links.py` writes it; back and forward walk through the runs.

const ADDRESS_MILLISECONDS = 250;
const PAGE = Math.random().toString(36).slice(2); // of the runs that the history names, this page knows only its own

// The address's `run`, or null for a run that no address can name. Whatever wrote a text, greedy decoding writes the same with the
// picks forced that argmax would not have made.
async function linkOf(run, step, language) {
  const named = run.end && !run.header.note && run.header.max_new_tokens <= LIMITS.steps;
  if (!named || run.steps.some(({ picked }) => picked.token_id < 0)) return null;
  const { model, prompt, steps, choices, forced } = requestUpTo(run, run.steps.length);
  const fields = [model, prompt, steps, choices, forced, Math.max(0, step)];
  const text = JSON.stringify(language ? [...fields, language] : fields);
  const packed = new Blob([text]).stream().pipeThrough(new CompressionStream("deflate-raw"));
  const bytes = new Uint8Array(await new Response(packed).arrayBuffer());
  const link = `1${btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`;
  return link.length <= LIMITS.linkCharacters ? link : null;
}

// The page's address with a run in it, or without one where it can name none.
async function addressOf(parts, view) {
  const address = new URL(location.href);
  const link = await linkOf(view.whole, view.chosen, texts.chosen());
  const named = { run: link, language: link ? "" : texts.chosen() }; // a link names the language itself
  for (const [name, value] of Object.entries(named)) {
    if (value) address.searchParams.set(name, value);
    else address.searchParams.delete(name);
  }
  return { address, link };
}

function keepAddress(parts, keep, view, panel) {
  let written = null; // the run that the address holds
  let before = null; // the run on screen while the one that the address names is being written: the address stands
  let waiting = 0;

  async function write() {
    waiting = 0;
    const entry = keep.shown;
    if (!entry?.run.end || entry === before) return; // it is named when it is whole
    const state = { page: PAGE, number: entry.number, step: view.chosen };
    const { address, link } = await addressOf(parts, view);
    parts.copy.disabled = !link && !entry.run.header.note;
    parts.copy.title = parts.copy.disabled ? texts.say("head.copy.none") : "";
    // Meanwhile another run came, which names itself, or somebody went back or forward, and that address is no longer this run's.
    if (entry !== keep.shown || entry === before) return;
    const held = address.href === location.href; // an address that was opened, or gone back to
    if (written === null || written === entry || held) history.replaceState(state, "", address);
    else history.pushState(state, "", address);
    written = entry;
    before = null;
  }

  // Ask for the run that the address names, if it names one; after the question that is being answered. The server reads the
  // link; only the step to look at and the language are read here.
  async function open() {
    const value = new URLSearchParams(location.search).get("run");
    before = value ? keep.shown : null;
    const [first] = keep.entries;
    if (!value && first !== keep.shown) panel.show(first); // the address that the page began with
    const { step, language } = await readAddress();
    if (language) texts.choose(language);
    if (!value || panel.ask("link", { value }, { kind: "run", look: step })) return;
    setTimeout(() => { if (location.search.includes(value)) open(); }, ADDRESS_MILLISECONDS);
  }

  addEventListener("popstate", ({ state }) => {
    if (!parts.root.isConnected || !state) return;
    const entry = state.page === PAGE ? keep.entries.find(({ number: each }) => each === state.number) : null;
    if (!entry) return open();
    [written, before] = [entry, null];
    panel.show(entry);
    panel.choose(state.step);
  });
  // Scrubbing changes the address a few times a second at most: browsers refuse more.
  const schedule = () => {
    waiting ||= setTimeout(write, ADDRESS_MILLISECONDS);
  };
  return { schedule, open };
}

// What the address says of the page and not of the run: the step to look at, and the language.
async function readAddress() {
  const address = new URLSearchParams(location.search);
  const fields = await fieldsOf(address.get("run") ?? "").catch(() => []);
  return { step: Number.isInteger(fields[5]) ? fields[5] : null, language: String(fields[6] ?? address.get("language") ?? "") };
}

async function fieldsOf(value) {
  if (value.length > LIMITS.linkCharacters) return [];
  return JSON.parse(await unpacked(atob(value.slice(1).replaceAll("-", "+").replaceAll("_", "/")), LIMITS.linkBytes));
}

async function copyAddress(parts, view) {
  const { address } = await addressOf(parts, view);
  address.searchParams.delete("embed");
  await copy(address.href, parts.copy);
}

// A page that is not served over https may not use the clipboard, but may copy what is selected.
async function copy(text, button) {
  const copied = navigator.clipboard ? await navigator.clipboard.writeText(text).then(() => true, () => false) : copySelected(text, button);
  button.textContent = texts.say(copied ? "copy.done" : "copy.forbidden");
  setTimeout(() => { button.textContent = texts.say(button.dataset.text); }, 2000);
}

function copySelected(text, button) {
  const field = document.createElement("textarea");
  field.value = text;
  button.after(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  button.focus();
  return copied;
}
