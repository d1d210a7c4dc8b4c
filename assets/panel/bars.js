// The chosen step's candidates: as a list in the page, and as Plotly's bars once plotly.js is there. Both show the same rows.
// The list stays for keyboards and screen readers, which cannot reach Plotly's bars.

const ROW_HEIGHT = 30;
const EVERYTHING_ELSE = "everything else";

function rowsOf(step) {
  const rows = step.candidates.map((candidate) => ({
    label: labelOf(candidate),
    probability: candidate.probability,
    id: idLabel(candidate),
    kind: candidate.token_id === step.picked.token_id && candidate.rank === step.picked.rank ? "picked" : "other",
  }));
  if (step.picked.rank >= step.candidates.length) {
    const { picked } = step;
    rows.push({ label: labelOf(picked), probability: picked.probability, id: idLabel(picked), kind: "picked" });
  }
  rows.push({ label: EVERYTHING_ELSE, probability: step.rest, id: "", kind: "rest" });
  return rows;
}

function drawBars(parts, step, plotToo) {
  const rows = rowsOf(step);
  parts.bars.replaceChildren(...rows.map(listRow));
  if (window.Plotly && plotToo) drawPlot(parts, rows, step.forced);
}

function listRow(row) {
  const item = make("li", `gs-bar gs-${row.kind}`);
  item.style.setProperty("--p", row.probability);
  item.append(
    make("span", "gs-bar-label", row.kind === "picked" ? `▸ ${row.label}` : row.label),
    make("span", "gs-bar-track"),
    make("span", "gs-bar-value", percent(row.probability)),
    make("span", "gs-id", row.id),
  );
  return item;
}

function drawPlot(parts, rows, forced) {
  parts.root.classList.add("gs-plotted"); // first: an element that is not shown has no width
  const style = getComputedStyle(parts.root);
  const colour = (name) => style.getPropertyValue(name).trim();
  const colours = { picked: colour(forced ? "--gs-forced" : "--gs-accent"), other: colour("--gs-other"), rest: colour("--gs-rest") };
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
    hovertext: rows.map((row, place) => escapeMarkup(place === last ? row.label : `${row.label} · id ${row.id} · ${row.probability}`)),
    hoverinfo: "text",
  };
  // The size is always given: Plotly's own resizing measures an element whose height is Plotly's own.
  const layout = {
    width: parts.plot.clientWidth,
    height: rows.length * ROW_HEIGHT + 36,
    margin: { l: narrow ? 104 : 160, r: narrow ? 92 : 116, t: 4, b: 28 },
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
    hoverlabel: { font: { family: colour("--gs-mono") } },
  };
  window.Plotly.react(parts.plot, [trace], layout, { displayModeBar: false });
}

function tick(row, most) {
  if (row.kind === "rest") return `<i>${row.label}</i> `;
  const short = Array.from(row.label).length > most ? `${Array.from(row.label).slice(0, most - 1).join("")}…` : row.label;
  const label = escapeMarkup(short);
  return row.kind === "picked" ? `<b>▸ ${label}</b> ` : `${label} `;
}

// Plotly reads its texts as a small markup language of its own.
function escapeMarkup(text) {
  return text.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);
}
