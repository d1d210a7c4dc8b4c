// Two models side by side on one prompt. They cut a text into different tokens, so their steps are aligned by the position in the
// text, and where the texts part is a character. Positions count as strings do, in UTF-16 units, from the end of the prompt.

const otherModels = (a, b) => a.header.model.id !== b.header.model.id && a.header.prompt === b.header.prompt;
const generated = (run) => run.pieces.join("");
const characters = (text) => [...text].length;

// The first character that differs. -1 where there is none: the texts are the same, or one of them goes on where the other stopped.
function partingPlace(a, b) {
  const [left, right] = [generated(a), generated(b)];
  const shorter = Math.min(left.length, right.length);
  let place = 0;
  while (place < shorter && left[place] === right[place]) place++;
  if (place === shorter) return -1;
  return place > 0 && /[\uD800-\uDBFF]/.test(left[place - 1]) ? place - 1 : place; // never half of a character
}

// Where each token's text ends. A token that completes no character ends where it begins, and belongs to what comes after it.
function tokenEnds(run) {
  let end = 0;
  return run.pieces.map((piece) => (end += piece.length));
}

const startOf = (run, index) => tokenEnds(run)[index - 1] ?? 0;

// The step whose token holds a position, or the last one where the text is shorter.
function stepHolding(run, place) {
  const index = tokenEnds(run).findIndex((end) => end > place);
  return index < 0 ? run.steps.length - 1 : index;
}

// The step of `run` at which it parts from another model's run.
function partingStep(other, run) {
  return otherModels(other, run) ? stepHolding(run, Math.max(0, partingPlace(other, run))) : firstDifference(other, run);
}

// Rows that reach from one place where both texts have the end of a token to the next: [{ from, to, steps: [[…], […]] }].
function alignRuns(a, b) {
  const ends = [tokenEnds(a), tokenEnds(b)];
  const [lengthA, lengthB] = ends.map((each) => each.at(-1) ?? 0);
  const [longer, shorter] = lengthA >= lengthB ? ends : [ends[1], ends[0]];
  const known = new Set(shorter);
  const places = [...new Set(longer)].filter((end) => end > 0 && (known.has(end) || end >= Math.min(lengthA, lengthB)));
  const rows = places.map((to, n) => ({ from: places[n - 1] ?? 0, to, steps: [[], []] }));
  ends.forEach((each, side) => {
    let row = 0;
    each.forEach((_, index) => {
      const start = each[index - 1] ?? 0;
      while (row < rows.length - 1 && start >= rows[row].to) row++;
      rows[row]?.steps[side].push(index);
    });
  });
  return rows;
}

function drawModels(parts, keep, view, a, b) {
  const { models } = parts.compare;
  const place = partingPlace(a.run, b.run);
  writeModelsVerdict(parts.compare.verdict, a, b, place);
  // Both look at the same position: that of the chosen step, in the run on screen if it is one of the two.
  const looking = [a, b].includes(keep.shown) ? startOf(keep.shown.run, view.chosen) : Math.max(0, place);
  const steps = [a, b].map((entry) => (entry === keep.shown ? view.chosen : stepHolding(entry.run, looking)));
  [a, b].forEach((entry, side) => drawSide(models.sides[side], entry, steps[side]));
  // A button that is replaced loses the keyboard, so the table is only replaced when a text has grown.
  const drawn = [a, b].map((entry) => `${nameOf(entry)} ${entry.run.steps.length}`).join();
  if (models.table.dataset.drawn !== drawn) {
    models.table.dataset.drawn = drawn;
    drawAligned(models.table, keep, [a, b], place);
  }
  models.table.querySelectorAll('[aria-current="step"]').forEach((chip) => chip.removeAttribute("aria-current"));
  steps.forEach((step, side) => models.table.querySelector(`[data-side="${side}"][data-token="${step}"]`)?.setAttribute("aria-current", "step"));
}

function writeModelsVerdict(verdict, a, b, place) {
  const [left, right] = [a, b].map(({ run }) => generated(run));
  if (place >= 0) {
    const goesOn = ({ run }) => {
      const { picked } = run.steps[stepHolding(run, place)];
      return texts.say("models.goes_on", { model: run.header.model.id, token: labelOf(picked), probability: percent(picked.probability) });
    };
    const ways = { first: goesOn(a), second: goesOn(b) };
    if (place === 0) return texts.write(verdict, "models.part", ways);
    return texts.write(verdict, "models.part.later", { count: characters(left.slice(0, place)), ...ways });
  }
  const [short, long] = left.length < right.length ? [a, b] : [b, a];
  const count = characters(generated(short.run));
  if (!a.run.end || !b.run.end) return texts.write(verdict, "models.so_far", { count });
  if (left === right) return texts.write(verdict, "models.same", { count });
  return texts.write(verdict, "models.shorter", { count, short: nameOf(short), long: nameOf(long) });
}

// A model's panel: who wrote, how sure it was, and its candidates at the position that both look at.
function drawSide(side, entry, index) {
  const { run } = entry;
  const { model } = run.header;
  const [title, numbers, stepTitle, bars] = side.children;
  const { logprob } = totals(run);
  const length = characters(generated(run));
  title.textContent = upright(`${nameOf(entry)} · ${model.id}`);
  const sums = texts.say("models.sums", { logprob: number(logprob, 3), each: number(length ? logprob / length : NaN, 3) });
  const lengths = texts.say("models.lengths", { tokens: run.steps.length, characters: length });
  numbers.textContent = [numbersOf(model), lengths, sums].join(" · ");
  const step = run.steps[index];
  if (step) texts.write(stepTitle, "models.step", { step: index + 1, token: labelOf(step.picked) });
  else texts.write(stepTitle, "models.no_step");
  if (bars.listed === step) return;
  bars.listed = step;
  bars.replaceChildren(...(step ? rowsOf(step).map(plainRow) : []));
  fitLabels(side, bars, run.header);
}

function plainRow(row) {
  const item = make("li", `gs-bar gs-${row.kind}`);
  item.style.setProperty("--p", row.probability);
  item.append(rowLabel(row), make("span", "gs-bar-track"), make("span", "gs-bar-value", percent(row.probability)));
  return item;
}

function drawAligned(table, keep, entries, place) {
  const head = make("tr", "");
  head.append(...[texts.say("models.character"), ...entries.map((entry) => upright(`${nameOf(entry)} · ${entry.run.header.model.id}`))].map((title) => headCell(title, "col")));
  table.tHead.replaceChildren(head);
  const written = entries.map(({ run }) => generated(run));
  const longer = written[0].length >= written[1].length ? written[0] : written[1];
  table.tBodies[0].replaceChildren(...alignRuns(entries[0].run, entries[1].run).map(({ from, to, steps }) => {
    const parts = place >= from && place < to;
    const row = make("tr", parts ? "gs-differs" : "");
    const first = characters(longer.slice(0, from)) + 1;
    row.append(headCell(parts ? texts.say("compare.here", { place: first }) : String(first), "row"));
    entries.forEach((entry, side) => {
      const cell = make("td", "");
      cell.append(...steps[side].map((index) => alignedChip(keep, entry, side, index, place)));
      row.append(cell);
    });
    return row;
  }));
}

function alignedChip(keep, entry, side, index, place) {
  const { run } = entry;
  const { picked } = run.steps[index];
  const piece = run.pieces[index];
  const chip = make("button", "gs-chip");
  chip.type = "button";
  Object.assign(chip.dataset, { side, token: index, of: keep.entries.indexOf(entry) });
  chip.style.setProperty("--p", picked.probability);
  chip.title = texts.say("models.chip", { step: index + 1, token: labelOf(picked), probability: percent(picked.probability), id: idLabel(picked) });
  const at = place - startOf(run, index);
  const text = at >= 0 && at < piece.length ? make("span", "gs-chip-text") : label(picked);
  if (at >= 0 && at < piece.length) {
    const [parting] = piece.slice(at);
    text.append(visible(piece.slice(0, at)), make("mark", "gs-parts", visible(parting)), visible(piece.slice(at + parting.length)));
    chip.title = texts.say("models.chip.parts", { chip: chip.title });
  }
  chip.setAttribute("aria-label", chip.title);
  chip.append(text, make("span", "gs-id", idLabel(picked)));
  return chip;
}

// The models that can be asked beside the one that wrote the run on screen.
function drawOtherModels(parts, view) {
  const { beside } = parts.questions;
  const others = view.models.filter((name) => name !== view.run.header.model.id);
  beside.closest("section").hidden = others.length === 0;
  if (beside.dataset.names === others.join()) return;
  beside.dataset.names = others.join();
  const before = beside.value;
  beside.replaceChildren(...others.map((name) => make("option", "", name)));
  if (others.includes(before)) beside.value = before;
}
