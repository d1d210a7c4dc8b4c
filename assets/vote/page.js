// The page that a student opens: the code, the id of this session, what is typed and pressed. decoding/page/http/vote_page.py calls
// `startVotePage` once. Nothing is stored but the id, under the session's code, and that only until the session ends.

import { connect } from "./connection.js";
import { drawState } from "./drawing.js";
import { LIMITS, provide } from "../panel/core/constants.js";
import { texts } from "../panel/core/texts.js";

/** @import { VoteRefusal } from "../panel/core/class_score.js" */
/** @import { OpenState, Said, StudentState } from "./connection.js" */

const STORED = "greedyscope.vote.";
/** @type {(selector: string) => ReturnType<ParentNode["querySelector"]>} */
const find = (selector) => document.querySelector(selector);

/** @param {Parameters<typeof provide>[0]} given */
export function startVotePage(given) {
  provide(given);
  texts.speak(texts.preferred());
  texts.fill(document);
  document.title = `${texts.translate("vote.title")} · Greedyscope`;
  const code = decodeURIComponent(location.pathname.split("/").at(-1) ?? "").toUpperCase();
  if (code) attend(code);
  else enter();
}

// Without a code in the address, it is typed.
function enter() {
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
function attend(code) {
  let state = /** @type {StudentState | null} */ (null);
  let endsAt = /** @type {number | null} */ (null);
  find(".code").textContent = code;
  find(".said").textContent = texts.translate("vote.joining");
  const draw = () => { if (state) drawState(state, link.waiting()); };
  /** @type {(error: VoteRefusal | "") => void} */
  const refuse = (error) => { find(".refused").textContent = error && texts.translate(error === "late" ? "vote.answer.late" : `vote.error.${error}`); };

  const link = connect(code, idOf(code), {
    state(told) {
      if (told.number !== state?.number) refuse("");
      state = told;
      endsAt = typeof told.left === "number" ? performance.now() + told.left * 1000 : null;
      draw();
      drawTime();
    },
    offline(isOffline) {
      const said = isOffline ? texts.translate("vote.offline") : "";
      if (find(".offline").textContent !== said) find(".offline").textContent = said;
    },
    refused(error) {
      refuse(error);
      draw();
    },
    ended(error) {
      forget(code);
      endsAt = null;
      drawTime();
      for (const part of [find(".step"), find(".answer"), find(".or")]) part.hidden = true;
      for (const list of [find(".labels"), find(".bars")]) list.replaceChildren();
      find(".key").hidden = true;
      find(".offline").textContent = "";
      find(".said").textContent = error ? "" : texts.translate("vote.ended");
      refuse(error);
      if (error) enter();
    },
  });

  /** @param {Said} said */
  function answer(said) {
    refuse("");
    const { number } = /** @type {OpenState} */ (state); // the form is in sight only while a step is asked
    link.answer({ number, ...said });
    draw();
  }

  function drawTime() {
    const left = endsAt === null ? null : Math.max(0, Math.ceil((endsAt - performance.now()) / 1000));
    const said = left === null ? "" : left === 0 ? texts.translate("vote.over") : texts.translate("vote.left", { time: `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}` });
    if (find(".left").textContent !== said) find(".left").textContent = said;
  }
  setInterval(drawTime, 250);

  const input = find(".answer>label>input");
  input.maxLength = LIMITS.voteAnswer;
  find(".answer").onsubmit = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    if (input.value.trim()) answer({ text: input.value });
  };
  find(".labels").onclick = (/** @type {PageEvent<MouseEvent>} */ { target }) => {
    const { place } = target.closest("button")?.dataset ?? {};
    if (place !== undefined) answer({ place: Number(place) });
  };
}

// ---- the id

/**
 * A page that may store nothing has an id until it is closed.
 * @template T
 * @param {(storage: Storage) => T} use
 * @returns {T | null}
 */
function stored(use) {
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
  return stored((storage) => {
    const before = storage.getItem(STORED + code);
    for (const name of Object.keys(storage)) if (name.startsWith(STORED)) storage.removeItem(name); // of other sessions
    storage.setItem(STORED + code, before ?? made);
    return before;
  }) ?? made;
}

/** @param {string} code */
function forget(code) {
  stored((storage) => storage.removeItem(STORED + code));
}
