// The panel in a file of its own: the run is in the file, and nobody is there to answer a question.

const standalone = document.getElementById("panel");

// The theme is the reader's own, and follows it.
const night = matchMedia("(prefers-color-scheme: dark)");
const followTheme = () => document.body.classList.toggle("dark", night.matches);
night.addEventListener("change", followTheme);
followTheme();

// What is left of the questions is what the run alone can answer. The panel looks for all of them, so they are hidden, not gone.
for (const button of standalone.querySelectorAll("#gs-page-whatif [data-ask]")) {
  button.hidden = true;
  if (button.dataset.ask !== "closest") button.closest("section").hidden = true;
}
standalone.querySelector("#gs-tab-whatif").dataset.text = "standalone.whatif";
for (const name of ["tab-compare", "tab-keep"]) standalone.querySelector(`#gs-${name}`).remove();
standalone.querySelector(".gs-whole").remove();
standalone.querySelector(".gs-bars").dataset.textLabel = "standalone.bars";

// Before the panel hears of it: a candidate is no question here, and a cell of the table is a part of its row.
standalone.addEventListener("click", (event) => {
  const cell = event.target.closest("td[data-candidate]");
  if (cell) delete cell.dataset.candidate;
  if (event.target.closest("[data-candidate], [data-fork], [data-ask]")) event.stopPropagation();
}, { capture: true });

// The words of every language are packed, since after the run they are most of the file.
async function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  return JSON.parse(await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).text());
}

unpack(PACKED).then((words) => {
  Object.assign(TEXTS, words);
  const run = document.getElementById("run").textContent;
  const isTooLarge = refusalOf(run) !== "";
  startPanel(standalone, { value: isTooLarge ? "" : run }, () => {}, () => {});
  const kept = document.querySelector(".kept");
  if (isTooLarge) delete kept.dataset.text; // so that no language writes over it
  if (isTooLarge) kept.textContent = refusalOf(run);
});
