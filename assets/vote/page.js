// The page that a student opens: the code, the id of this session, what is typed and pressed. decoding/page/http/vote_page.py calls
// `startVotePage` once. Nothing is stored but the id, under the session's code, and that only until the session ends.

import { connect } from "./connection.js";
import { drawState } from "./drawing.js";
import { LIMITS, provide } from "../panel/core/constants.js";
import { texts } from "../panel/core/texts.js";

/** @import { VoteRefusal } from "../panel/core/class_score.js" */
/** @import { Answer, OpenState, StudentState } from "./connection.js" */

const STORED = "greedyscope.vote.";
const ENDED = "ended"; // the state of the history's entry, which a reload keeps
/** @type {(selector: string) => ReturnType<ParentNode["querySelector"]>} */
const find = (selector) => document.querySelector(selector);

/** @param {Parameters<typeof provide>[0]} data */
export function startVotePage(data) {
  provide(data);
  texts.setLanguage(texts.preferredLanguage());
  texts.fillTexts(document);
  document.title = `${texts.translate("vote.title")} · Greedyscope`;
  const code = decodeURIComponent(location.pathname.split("/").at(-1) ?? "").toUpperCase();
  if (code) joinSession(code);
  else askForCode();
}

// Without a code in the address, it is typed.
function askForCode() {
  const form = find(".enter");
  form.hidden = false;
  const input = form.querySelector("input");
  input.focus();
  form.onsubmit = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const code = input.value.trim().toUpperCase();
    if (code) location.assign(encodeURIComponent(code));
  };
}

/** @param {string} code */
function joinSession(code) {
  let state = /** @type {StudentState | null} */ (null);
  let endsAt = /** @type {number | null} */ (null);
  find(".code").textContent = code;
  find(".status").textContent = texts.translate("vote.joining");
  const wasHere = history.state === ENDED || hasId(code);
  const draw = () => { if (state) drawState(state, link.answerOnItsWay()); };
  /** @type {(error: VoteRefusal | "") => void} */
  const showRefusal = (error) => { find(".refused").textContent = error && texts.translate(error === "late" ? "vote.answer.late" : `vote.error.${error}`); };

  const link = connect(code, idOf(code), {
    onState(newState) {
      if (newState.number !== state?.number) showRefusal("");
      state = newState;
      endsAt = typeof newState.left === "number" ? performance.now() + newState.left * 1000 : null;
      draw();
      drawTime();
    },
    onOffline(isOffline) {
      const sentence = isOffline ? texts.translate("vote.offline") : "";
      if (find(".offline").textContent !== sentence) find(".offline").textContent = sentence;
    },
    onRefusal(error) {
      showRefusal(error);
      draw();
    },
    onEnd(refusal) {
      const error = refusal === "unknown" && wasHere ? "" : refusal; // it ended while this page was away, or before it was reloaded
      if (!error) history.replaceState(ENDED, "");
      forgetId(code);
      endsAt = null;
      drawTime();
      for (const part of [find(".step"), find(".answer"), find(".or")]) part.hidden = true;
      for (const list of [find(".labels"), find(".bars")]) list.replaceChildren();
      find(".key").hidden = true;
      find(".offline").textContent = "";
      find(".status").textContent = error ? "" : texts.translate("vote.ended");
      showRefusal(error);
      if (error) askForCode();
    },
  });

  /** @param {Answer} answer */
  function submitAnswer(answer) {
    showRefusal("");
    const { number } = /** @type {OpenState} */ (state); // the form is in sight only while a step is asked
    link.submit({ number, ...answer });
    draw();
  }

  function drawTime() {
    const left = endsAt === null ? null : Math.max(0, Math.ceil((endsAt - performance.now()) / 1000));
    const sentence = left === null ? "" : left === 0 ? texts.translate("vote.over") : texts.translate("vote.left", { time: `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}` });
    if (find(".left").textContent !== sentence) find(".left").textContent = sentence;
  }
  setInterval(drawTime, 250);

  const input = find(".answer>label>input");
  input.maxLength = LIMITS.voteAnswer;
  find(".answer").onsubmit = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    if (input.value.trim()) submitAnswer({ text: input.value });
    else find(".refused").textContent = texts.translate("vote.answer.empty");
  };
  find(".labels").onclick = (/** @type {PageEvent<MouseEvent>} */ { target }) => {
    const { place } = target.closest("button")?.dataset ?? {};
    if (place !== undefined) submitAnswer({ place: Number(place) });
  };
}

// ---- the id

/**
 * A page that may store nothing has an id until it is closed.
 * @template T
 * @param {(storage: Storage) => T} use
 * @returns {T | null}
 */
function withLocalStorage(use) {
  try {
    return use(localStorage);
  } catch {
    return null;
  }
}

/**
 * @param {string} code
 * @returns {string}
 */
function idOf(code) {
  const made = btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(18)))).replaceAll("+", "-").replaceAll("/", "_");
  return withLocalStorage((storage) => {
    const before = storage.getItem(STORED + code);
    for (const name of Object.keys(storage)) if (name.startsWith(STORED)) storage.removeItem(name); // of other sessions
    storage.setItem(STORED + code, before ?? made);
    return before;
  }) ?? made;
}

/** @param {string} code */
function hasId(code) {
  return Boolean(withLocalStorage((storage) => storage.getItem(STORED + code)));
}

/** @param {string} code */
function forgetId(code) {
  withLocalStorage((storage) => storage.removeItem(STORED + code));
}
