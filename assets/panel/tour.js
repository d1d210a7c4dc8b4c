// The guided tour: eight stops on the panel's own controls, each with something to do there. Its card is no overlay: it stands in the
// page itself, just before what it talks about, and so can cover nothing. Where a reader left is remembered, in this browser only.

const TOUR = "greedyscope.tour";

// Before which part the card stands, and the parts it talks about. `isDone` looks at the panel and sees whether the reader has done it.
const STOPS = [
  { name: "probabilities", before: ".gs-step-title", about: [".gs-chart"], isDone: ({ view, begun }) => view.chosen !== begun.chosen || view.whole !== begun.run },
  { name: "softmax", before: ".gs-tabs", about: ["#gs-tab-lesson", ".gs-softmax"], isDone: ({ math }) => math.softmax.lit !== null },
  { name: "argmax", before: ".gs-step-title", about: [".gs-chart", ".gs-temperature"], isDone: ({ heat }) => heat.power !== 1 },
  { name: "again", before: ".gs-player", about: ['[data-go="play"]', ".gs-strip"], isDone: ({ view }) => view.player !== null },
  { name: "product", before: ".gs-tabs", about: ["#gs-tab-lesson", ".gs-so-far"], isDone: ({ view, tab }) => tab === "lesson" && view.chosen > 0 && view.chosen === view.run.steps.length - 1 },
  { name: "fork", before: ".gs-tabs", about: ["#gs-tab-whatif", '[data-ask="closest"]'], isDone: ({ keep, begun, tab, isFile }) => (isFile ? tab === "whatif" : keep.shown.kind === "branch" && keep.shown.run !== begun.run) },
  { name: "repeats", before: ".gs-head", about: ["#example-repeats", "#run", ".gs-text"], isDone: ({ view, tab, isFile }) => (isFile ? tab === "whatif" : view.run.end?.loops?.length > 0) },
  { name: "predict", before: ".gs-tabs", about: ["#gs-tab-lesson", '.gs-lesson-start [data-predict="start"]'], isDone: ({ predict }) => predict.guesses() > 0 },
];

function startTour(parts, state, panel) {
  const { root } = parts;
  const card = root.querySelector(".gs-tour");
  const [place, title, text, task, word] = ["place", "title", "text", "task", "said"].map((name) => card.querySelector(`.gs-tour-${name}`));
  const button = (name) => card.querySelector(`[data-tour="${name}"]`);
  const isFile = !root.closest(".gradio-container");
  const tour = { at: null, done: false, begun: null };

  function look() {
    const { view, math, heat, keep, predict } = state;
    return { view, math, heat, keep, predict, isFile, begun: tour.begun, tab: openTabOf(parts) };
  }

  function go(at) {
    if (at >= STOPS.length) return leave({ isOver: true });
    Object.assign(tour, { at: Math.max(0, at), done: false, begun: { run: state.view.whole, chosen: state.view.chosen } });
    state.math.softmax.lit = null; // pointing is asked for at one of the stops, and what was lit before does not count
    remember(tour.at);
    root.querySelector(STOPS[tour.at].before).before(card);
    card.hidden = false;
    panel.schedule();
    card.focus({ preventScroll: true });
    card.scrollIntoView({ block: "start" });
  }

  function leave({ isOver = false } = {}) {
    if (isOver) remember(0);
    tour.at = null;
    card.hidden = true;
    for (const part of document.querySelectorAll(".gs-toured")) part.classList.remove("gs-toured");
    panel.schedule();
    const [open] = root.querySelectorAll('[data-tour="open"]');
    open.hidden = false; // at once: what is hidden cannot be focused
    open.focus();
  }

  function draw() {
    const left = recalled();
    for (const open of root.querySelectorAll('[data-tour="open"]')) {
      open.hidden = tour.at !== null;
      open.textContent = texts.say(left ? "tour.resume" : "tour.start", { place: left + 1, total: STOPS.length });
    }
    if (tour.at === null) return;
    const stop = STOPS[tour.at];
    tour.done ||= Boolean(stop.isDone(look()));
    const example = texts.say(`example.${stop.name === "fork" ? "closest" : "repeats"}`);
    place.textContent = texts.say("tour.place", { place: tour.at + 1, total: STOPS.length });
    title.textContent = texts.say(`tour.${stop.name}`);
    text.textContent = texts.say(`tour.${stop.name}.text`);
    const asked = isFile && ["fork", "repeats"].includes(stop.name) ? `tour.${stop.name}.file` : `tour.${stop.name}.task`;
    task.textContent = texts.say(asked, { example });
    const said = tour.done ? texts.say("tour.done") : "";
    if (word.textContent !== said) word.textContent = said; // spoken once
    card.classList.toggle("gs-tour-done", tour.done);
    button("back").disabled = tour.at === 0;
    button("next").textContent = texts.say(!tour.done ? "tour.skip" : tour.at === STOPS.length - 1 ? "tour.finish" : "tour.next");
    for (const part of document.querySelectorAll(".gs-toured")) if (!stop.about.some((about) => part.matches(about))) part.classList.remove("gs-toured");
    for (const about of stop.about) document.querySelector(about)?.classList.add("gs-toured");
  }

  root.addEventListener("click", (event) => {
    const move = event.target.closest("[data-tour]")?.dataset.tour;
    if (move === "open") go(recalled());
    if (move === "back") go(tour.at - 1);
    if (move === "next") go(tour.at + 1);
    if (move === "leave") leave();
  });
  card.addEventListener("keydown", (event) => {
    if (event.key === "Escape") leave();
  });
  // Pointing at a formula draws nothing else.
  for (const name of ["pointerover", "focusin"]) root.addEventListener(name, () => { if (tour.at !== null && !tour.done) draw(); });
  return { draw };
}

// A page in a closed frame may not remember anything; then a tour begins anew.
function recalled() {
  try {
    const at = Number(localStorage.getItem(TOUR) ?? 0);
    return Number.isInteger(at) && at > 0 && at < STOPS.length ? at : 0;
  } catch {
    return 0;
  }
}

function remember(at) {
  try {
    localStorage.setItem(TOUR, at);
  } catch {
    // then it is forgotten
  }
}
