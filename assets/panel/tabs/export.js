// The Keep tab: the run as files, its chosen step as a picture, a frame for other pages, and a file opened as a run. JSON Lines are
// here already. Every other form, and the check of a file, is the library's work: `convert` asks for it, and no model runs.

import { LIMITS } from "../core/constants.js";
import { refusalOf, Refused } from "../core/too_large.js";
import { addressOf, requestOf } from "../core/permalink.js";
import { jsonLines } from "../core/run_lines.js";
import { texts } from "../core/texts.js";
import { oneLine } from "../core/visible.js";
import { copyText } from "../view/clipboard.js";
import { drawVideo, listenToVideo } from "./video.js";
import { fitText, pngOf, stepImage } from "../view/step_image.js";
import { isEmbedded } from "../view/environment.js";

/** @import { Run } from "../core/run.js" */
/** @import { Convert, Panel, State } from "../core/state.js" */
/** @import { Parts } from "../view/panel_elements.js" */

/** @type {Record<string, string>} */
const ENDINGS = { "html-plotly": "html" };
const UTF_16_MARKS = ["255,254", "254,255"]; // a file's first two bytes
const FRAME_HEIGHT = 360; // at a width of 600, player and ten bars are in it: page.css

/**
 * @param {Parts} parts
 * @param {State} state
 * @param {Panel} panel
 * @param {Convert} convert
 */
export function listenToExportTab(parts, state, panel, convert) {
  const { page, status, input } = findExportTab(parts);
  parts.root.classList.toggle("gs-embedded", isEmbedded());
  page.addEventListener("click", async (/** @type {PageEvent<MouseEvent, HTMLElement>} */ { target }) => {
    const { file, picture, copies } = target.closest("button")?.dataset ?? {};
    if (copies) return copyText(page.querySelector(".gs-frame").value, target);
    if (!file && !picture) return;
    const name = fileName(state, file ?? picture, Boolean(picture));
    status.textContent = texts.translate("keep.making", { name });
    try {
      saveFile(file ? await runFile(state.run, file, convert) : await imageFile(state, picture), name);
      status.textContent = texts.translate("keep.saved", { name });
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      status.textContent = error.message;
    }
  });
  input.addEventListener("change", () => {
    openFile([...input.files], parts, panel, convert);
    input.value = ""; // so that the same file can be chosen again
  });
  listenToDrops(parts, panel, convert);
  listenToVideo(page, state, (blob, ending) => {
    const name = fileName(state, ending, false);
    saveFile(blob, name);
    return name;
  });
  const whole = parts.root.querySelector(".gs-whole");
  whole.addEventListener("click", () => { whole.href = withoutFrame(location.href); });
}

/** @param {Parts} parts */
function findExportTab(parts) {
  const page = parts.root.querySelector("#gs-page-keep");
  return { page, status: page.querySelector(".gs-status"), problem: page.querySelector(".gs-refused"), opened: page.querySelector(".gs-opened"), input: page.querySelector("[type=file]") };
}

/**
 * @param {Parts} parts
 * @param {State} state
 */
export async function drawExportTab(parts, state) {
  const { page } = findExportTab(parts);
  const [ended, shown] = [Boolean(state.run.end), state.chosen >= 0];
  for (const button of page.querySelectorAll("[data-file]")) button.disabled = !ended;
  for (const button of page.querySelectorAll("[data-picture]")) button.disabled = !shown;
  drawVideo(page, state);
  const { link, address } = ended ? await addressOf(requestOf(state.whole), state.chosen) : { link: null };
  const snippet = link ? frameOf(address, state.run) : "";
  const frame = page.querySelector(".gs-frame");
  if (frame.value !== snippet) frame.value = snippet; // written again, it would lose what is selected
  page.querySelector("[data-copies]").disabled = !snippet;
  page.querySelector(".gs-no-frame").hidden = !ended || Boolean(snippet);
}

/**
 * @param {Run} run
 * @param {string} form
 * @param {Convert} convert
 * @returns {Promise<Blob>}
 */
async function runFile(run, form, convert) {
  const lines = jsonLines(run);
  return form === "jsonl" ? new Blob([lines], { type: "application/jsonl" }) : (await convert(form, lines)).blob();
}

/**
 * @param {State} state
 * @param {string} form
 * @returns {Blob | Promise<Blob>}
 */
function imageFile(state, form) {
  const svg = stepImage(state.run, state.chosen);
  return form === "svg" ? new Blob([svg], { type: "image/svg+xml" }) : pngOf(svg);
}

/**
 * @param {Blob} blob
 * @param {string} name
 */
export function saveFile(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/**
 * A name that every system takes: the prompt's letters, their marks, and digits.
 * @param {State} state
 * @param {string} form
 * @param {boolean} stepOnly
 */
function fileName(state, form, stepOnly) {
  // Cut first: to put a long run of marks in order takes the square of its length.
  const words = state.run.header.prompt.slice(0, 400).normalize().split(/[^\p{L}\p{M}\p{N}]/u).filter(Boolean).join("-");
  const kind = stepOnly ? `step-${state.chosen + 1}` : form === "html-plotly" ? "plotly" : "";
  const parts = ["greedyscope", Array.from(words).slice(0, 40).join("").replace(/-$/, "").toLowerCase(), kind];
  return `${parts.filter(Boolean).join("-")}.${ENDINGS[form] ?? form}`;
}

/**
 * A file is judged by the library, not here, and comes back as the run that it is. What is on screen stays until then.
 * @param {File[]} files of which the first is opened
 * @param {Parts} parts
 * @param {Panel} panel
 * @param {Convert} convert
 */
async function openFile([file, ...others], parts, panel, convert) {
  if (!file) return;
  const { status, problem, opened } = findExportTab(parts);
  const name = fitText(oneLine(file.name), 16, "sans-serif", 480);
  for (const slot of [status, problem, opened]) slot.textContent = "";
  try {
    if (file.size === 0) throw new Refused(texts.translate("keep.empty"));
    if (file.size > LIMITS.bytes) {
      throw new Refused(texts.translate("keep.large", { size: (file.size / 2 ** 20).toFixed(1), most: LIMITS.bytes / 2 ** 20 }));
    }
    const bytes = await file.arrayBuffer().catch(() => { throw new Refused(texts.translate("keep.unreadable")); });
    if (UTF_16_MARKS.includes(new Uint8Array(bytes).subarray(0, 2).join())) throw new Refused(texts.translate("keep.utf16"));
    const tooLarge = refusalOf(new TextDecoder().decode(bytes));
    if (tooLarge) throw new Refused(tooLarge);
    const answer = await convert("jsonl", bytes);
    panel.openRun(await answer.text(), name);
    opened.textContent = texts.translate(others.length > 0 ? "keep.opened.first" : "keep.opened", { name });
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    problem.textContent = texts.translate("keep.refused", { name, why: error.message });
    panel.openTab("keep");
  }
}

/**
 * A file may be dropped anywhere: beside the panel a browser would leave the page for it.
 * @param {Parts} parts
 * @param {Panel} panel
 * @param {Convert} convert
 */
function listenToDrops(parts, panel, convert) {
  /** @type {(event: DragEvent) => void} */
  const onDrag = (event) => {
    if (!event.dataTransfer?.types.includes("Files") || !parts.root.isConnected) return;
    event.preventDefault();
    parts.root.classList.toggle("gs-dropping", event.type === "dragover");
    if (event.type === "drop") openFile([...event.dataTransfer.files], parts, panel, convert);
  };
  for (const name of /** @type {const} */ (["dragover", "dragleave", "drop"])) document.addEventListener(name, onDrag);
}

/** @param {string} href */
function withoutFrame(href) {
  const address = new URL(href);
  address.searchParams.delete("embed");
  return address.href;
}

/**
 * The run in a frame, for a page of one's own: the panel alone, which writes the run when it is opened.
 * @param {URL} address
 * @param {Run} run
 */
function frameOf(address, run) {
  address.searchParams.set("embed", "1");
  /** @type {(text: string) => string} */
  const escapeAttribute = (text) => text.replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const title = fitText(oneLine(`Greedyscope: ${run.header.prompt}`), 16, "sans-serif", 640);
  return `<iframe src="${escapeAttribute(address.href)}" title="${escapeAttribute(title)}" width="100%" height="${FRAME_HEIGHT}" style="border: 0" loading="lazy"></iframe>`;
}
