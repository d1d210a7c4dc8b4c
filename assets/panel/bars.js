// The chosen step's candidates: as buttons in a list, and as Plotly's bars once plotly.js is there. Both show the same rows. The
// buttons then lie over the bars, unseen but for their focus: Plotly's bars cannot be reached by keyboard or screen reader.

const ROW_HEIGHT = 30;
const PLOT_TOP = 4;
const PLOT_BOTTOM = 28;
const EVERYTHING_ELSE = "everything else";
const MARKS = { argmax: "▸ ", forced: "✎ ", other: "" };

function rowsOf(step) {
  const { picked } = step;
  const kindOf = (candidate) => {
    if (step.forced && candidate.rank === picked.rank) return "forced";
    return candidate.rank === 0 ? "argmax" : "other";
  };
  const candidates = picked.rank < step.candidates.length ? step.candidates : [...step.candidates, picked];
  const rows = candidates.map((candidate) => ({
    label: MARKS[kindOf(candidate)] + labelOf(candidate),
    probability: candidate.probability,
    id: idLabel(candidate),
    tokenId: candidate.token_id,
    kind: kindOf(candidate),
  }));
  // A pick from beyond the candidates has a row of its own, and so is no longer among the others.
  const rest = candidates === step.candidates ? step.rest : Math.max(0, step.rest - picked.probability);
  return [...rows, { label: EVERYTHING_ELSE, probability: rest, id: "", kind: "rest" }];
}

function drawBars(parts, step, plotToo) {
  const rows = rowsOf(step);
  // A button that is replaced under a pointer is not clicked, so the list is only replaced when it changes.
  if (parts.listed !== step) {
    const focused = candidateButtons(parts).indexOf(document.activeElement);
    parts.bars.replaceChildren(...rows.map(listRow));
    candidateButtons(parts)[focused]?.focus();
    parts.listed = step;
  }
  if (window.Plotly && plotToo) drawPlot(parts, rows);
}

function candidateButtons(parts) {
  return [...parts.bars.querySelectorAll("button")];
}

function listRow(row) {
  const item = make("li", "");
  const line = make(row.kind === "rest" ? "div" : "button", `gs-bar gs-${row.kind}`);
  if (row.kind !== "rest") {
    line.type = "button";
    line.dataset.candidate = row.tokenId;
    line.disabled = row.tokenId < 0;
    line.title = line.disabled ? "" : "What if the text went on with this token?";
  }
  line.style.setProperty("--p", row.probability);
  line.append(
    make("span", "gs-bar-label", row.label),
    make("span", "gs-bar-track"),
    make("span", "gs-bar-value", percent(row.probability)),
    make("span", "gs-id", row.id),
  );
  item.append(line);
  return item;
}

function drawPlot(parts, rows) {
  parts.root.classList.add("gs-plotted"); // first: an element that is not shown has no width
  const style = getComputedStyle(parts.root);
  const colour = (name) => style.getPropertyValue(name).trim();
  const colours = { argmax: colour("--gs-accent"), forced: colour("--gs-forced"), other: colour("--gs-other"), rest: colour("--gs-rest") };
  const narrow = parts.plot.clientWidth < 480;
  const last = rows.length - 1;
  const trace = {
    type: "bar",
    orientation: "h",
    x: rows.map((row) => row.probability * 100),
    // Numbers, not labels: Plotly would merge bars of the same label and sort them.
    y: rows.map((_, place) => place),
    text: rows.map((row) => percent(row.probability) + (row.id ? `  <span style="font-size:.8em">${escapeMarkup(row.id)}</span>` : "")),
    textposition: "outside",
    cliponaxis: false,
    marker: {
      color: rows.map((row) => colours[row.kind]),
      pattern: { shape: rows.map((row) => (row.kind === "rest" ? "/" : "")), fgcolor: colour("--gs-muted"), size: 5, solidity: 0.2 },
    },
    hoverinfo: "skip", // the buttons above the bars say it
  };
  // The size is always given: Plotly's own resizing measures an element whose height is Plotly's own.
  const layout = {
    width: parts.plot.clientWidth,
    height: rows.length * ROW_HEIGHT + PLOT_TOP + PLOT_BOTTOM,
    margin: { l: narrow ? 116 : 160, r: narrow ? 92 : 116, t: PLOT_TOP, b: PLOT_BOTTOM },
    bargap: 0.28,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: style.fontFamily, size: narrow ? 12 : 15, color: colour("--gs-text") },
    xaxis: { range: [0, 100], fixedrange: true, ticksuffix: " %", dtick: narrow ? 50 : 25, gridcolor: colour("--gs-line"), zeroline: false, tickfont: { size: 12, color: colour("--gs-muted") } },
    yaxis: {
      range: [last + 0.5, -0.5],
      fixedrange: true,
      tickvals: rows.map((_, place) => place),
      ticktext: rows.map((row) => tick(row, narrow ? 10 : 15)),
      tickfont: { family: colour("--gs-mono") },
      showgrid: false,
      zeroline: false,
    },
    showlegend: false,
  };
  window.Plotly.react(parts.plot, [trace], layout, { displayModeBar: false });
}

function tick(row, most) {
  if (row.kind === "rest") return `<i>${row.label}</i> `;
  const letters = Array.from(row.label);
  const label = escapeMarkup(letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : row.label);
  return row.kind === "other" ? `${label} ` : `<b>${label}</b> `;
}

// Plotly reads its texts as a small markup language of its own.
function escapeMarkup(text) {
  return text.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);
}
