// The notebook's table: a row a step, Input and then the choices. Drawn only while it is in sight.

function drawTable(parts, run, drawn) {
  const [head, body] = [parts.table.tHead, parts.table.tBodies[0]];
  if (drawn === 0) {
    const titles = [texts.say("table.input"), ...Array.from({ length: run.header.top_k }, (_, n) => texts.say("table.choice", { number: n + 1 }))];
    const row = make("tr", "");
    row.append(...titles.map((title) => headCell(title, "col")));
    head.replaceChildren(row);
    body.replaceChildren();
  }
  for (const step of run.steps.slice(drawn)) {
    const row = make("tr", "");
    row.dataset.step = step.index;
    row.append(headCell(endOf(textBefore(run, step.index)).replaceAll("\n", "↵"), "row", "auto"), ...step.candidates.map((c) => choiceCell(step, c)));
    body.append(row);
  }
}

function headCell(text, scope, dir = "") {
  const cell = make("th", "", text);
  cell.scope = scope;
  if (dir) cell.dir = dir;
  return cell;
}

function choiceCell(step, candidate) {
  const picked = candidate.rank === step.picked.rank;
  const cell = make("td", picked ? (step.forced ? "gs-forced" : "gs-argmax") : "");
  if (candidate.token_id >= 0) Object.assign(cell.dataset, { candidate: candidate.token_id, at: step.index });
  cell.append(
    label(candidate),
    make("span", "gs-percent", ` (${percent(candidate.probability)}) `),
    make("span", "gs-id", idLabel(candidate)),
  );
  return cell;
}

function markRow(parts, chosen) {
  parts.table.querySelector('tr[aria-current="step"]')?.removeAttribute("aria-current");
  parts.table.querySelector(`tr[data-step="${chosen}"]`)?.setAttribute("aria-current", "step");
}

// The end of a text that is too long for a cell of a table.
function endOf(text, most = 2000) {
  return text.length > most ? `…${text.slice(-most).toWellFormed()}` : text;
}
