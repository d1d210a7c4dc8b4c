// What the teacher's page shows of a class that votes: how to join, how many have answered, and the class's bars under the model's. Every
// text is a text node. Knows no server.

import { mostFrequent } from "../core/class_score.js";
import { percent } from "../core/numbers.js";
import { optionsOf } from "../core/log_sums.js";
import { texts } from "../core/texts.js";
import { isolate, oneLine, visible } from "../core/visible.js";
import { make, setText } from "./elements.js";

/** @import { VoteResult } from "../core/class_score.js" */
/** @import { Step } from "../core/run.js" */
/** @import { Parts } from "./panel_elements.js" */

const TIMES = [15, 30, 60, 120];
const SLOTS = /** @type {const} */ (["problem", "code", "count", "status", "labels", "ask", "reveal", "next", "results", "time", "timed", "left", "others", "join", "address", "big", "joined", "local", "qr", "summary", "ended", "picture", "unsaved"]);

/** @typedef {ReturnType<typeof findVoteParts>} VoteParts */

/** @param {Parts} parts */
export function findVoteParts({ root }) {
  const box = root.parentElement.querySelector(".gs-vote");
  /** @type {(name: string) => any} */
  const find = (name) => box.querySelector(`.gs-vote-${name}`);
  return { box, .../** @type {Record<typeof SLOTS[number], ReturnType<typeof find>>} */ (Object.fromEntries(SLOTS.map((name) => [name, find(name)]))) };
}

/**
 * @param {VoteParts} slots
 * @param {string} code
 * @param {{ address: string, size: number, path: string }} qr
 */
export function drawJoining(slots, code, { address, size, path }) {
  const short = address.slice(0, address.length - code.length).replace(/^https?:\/\//, "");
  slots.code.textContent = slots.big.textContent = code;
  texts.write(slots.address, "vote.address", { address: short });
  slots.qr.setAttribute("viewBox", `0 0 ${size} ${size}`);
  slots.qr.setAttribute("aria-label", texts.translate("vote.qr", { address }));
  slots.qr.querySelector("path").setAttribute("d", path);
  slots.local.hidden = !["localhost", "127.0.0.1", "[::1]"].includes(new URL(address).hostname);
}

/** @param {VoteParts} slots */
export function drawTimes(slots) {
  const { value } = slots.time;
  slots.time.replaceChildren(...["", ...TIMES].map((seconds) => {
    const option = make("option", "", seconds ? texts.translate("vote.time.seconds", { seconds }) : texts.translate("vote.time.none"));
    option.value = String(seconds);
    return option;
  }));
  slots.time.value = value;
}

/**
 * @param {VoteParts} slots
 * @param {{ students: number, answered: number }} told
 * @param {boolean} isOpen
 */
export function drawCounts(slots, { students, answered }, isOpen) {
  const joined = texts.translate("vote.students", { count: students });
  setText(slots.joined, joined);
  setText(slots.count, isOpen ? texts.translate(students ? "vote.answered" : "vote.nobody", { answered, students }) : "");
}

/**
 * @param {VoteParts} slots
 * @param {number | null} left seconds
 */
export function drawLeft(slots, left) {
  const seconds = left === null ? null : Math.ceil(left);
  setText(slots.left, seconds === null ? "" : seconds === 0 ? texts.translate("vote.over") : `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`);
}

/**
 * The candidates of a step that is open, in the order in which the phones offer them.
 * @param {VoteParts} slots
 * @param {string[]} labels
 */
export function drawLabels(slots, labels) {
  const drawn = labels.join("\n");
  if (slots.labels.drawn === drawn) return;
  slots.labels.drawn = drawn;
  slots.labels.replaceChildren(...labels.map((label) => make("li", "", label)));
}

/**
 * What the class answered to a revealed step, in a sentence and in bars on the model's axis.
 * @param {Parts} parts
 * @param {VoteParts} slots
 * @param {VoteResult | null} result
 * @param {Step | null} step
 * @returns {boolean} whether the bars have another height than before
 */
export function drawVotes(parts, slots, result, step) {
  for (const mark of parts.bars.querySelectorAll(".gs-vote-bar, .gs-vote-value")) mark.remove();
  const had = parts.root.classList.contains("gs-voted");
  parts.root.classList.toggle("gs-voted", Boolean(result));
  slots.others.hidden = !result?.other_votes;
  setText(slots.status, result ? sentencesOf(result) : "");
  if (result && step) addVotes(parts, result, step);
  if (result) drawOthers(slots.others, result);
  return had !== Boolean(result);
}

/**
 * The rows of the chart are the step's candidates, and everything else as the last one.
 * @param {Parts} parts
 * @param {VoteResult} result
 * @param {Step} step
 */
function addVotes(parts, { options, other_votes, score }, step) {
  const votes = new Map(options.map((option) => [option.rank, option.votes]));
  const ranks = optionsOf(step).map(({ rank }) => rank);
  for (const [place, row] of [...parts.bars.querySelectorAll(".gs-bar")].entries()) {
    addVoteBar(row, place < ranks.length ? (votes.get(ranks[place]) ?? 0) : other_votes, score.answers);
  }
}

/**
 * @param {HTMLElement} line
 * @param {number} votes
 * @param {number} all
 */
function addVoteBar(line, votes, all) {
  const share = all ? votes / all : 0;
  line.style.setProperty("--share", String(share));
  if (!votes) return;
  line.append(make("span", "gs-vote-bar"), make("span", "gs-vote-value", `▨ ${texts.translate("vote.votes", { votes, share: wholePercent(share) })}`));
}

/**
 * @param {VoteResult} result
 * @returns {string}
 */
function sentencesOf(result) {
  const { options, picked, score } = result;
  const token = { token: options[picked].label, picked: percent(options[picked].probability) };
  if (score.answers === 0) return texts.translate("predict.nobody", token);
  const [choice, ...tied] = mostFrequent(result);
  const sentence = texts.translate("vote.revealed", { ...token, right: score.right, answers: score.answers });
  return choice && tied.length === 0 ? `${sentence} ${texts.translate("vote.choice", { answer: visible(choice.label), share: wholePercent(choice.votes / score.answers) })}` : sentence;
}

/**
 * What students typed stays folded: the teacher looks first.
 * @param {HTMLElement} details
 * @param {VoteResult} result
 */
function drawOthers(details, { others, other_votes }) {
  const list = others.map(([word, votes]) => `“${isolate(oneLine(word))}” ${votes}`).join(" · ");
  setText(details.querySelector("p"), list);
  setText(details.querySelector("summary"), texts.translate("vote.others", { count: other_votes }));
}

/** @param {number} share */
export function wholePercent(share) {
  return `${(share * 100).toFixed(0)} %`;
}
