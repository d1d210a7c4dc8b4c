// The server, as a phone reaches it whose network comes and goes. It asks for the state with the version that it has, and the server answers
// once there is another. An answer is sent until the server has it: the same one twice counts once. Draws nothing.

const WAIT_MILLISECONDS = 25_000; // the server answers within 15 s, and the network takes its time
const SEND_MILLISECONDS = 8_000;
const MOST_PAUSE = 3_000;

/** @typedef {{ error: string }} Refusal */

/**
 * @param {string} code
 * @param {string} id
 * @param {{ state: (state: any) => void, offline: (isOffline: boolean) => void, refused: (error: string) => void, ended: (error: string) => void }} on
 */
export function connect(code, id, on) {
  const link = { version: /** @type {number | null} */ (null), isOver: false, answer: /** @type {any} */ (null), isSending: false };
  let wake = () => {};

  // A pause that ends at once when the network is back, or the phone is looked at again.
  const pause = (milliseconds) => new Promise((done) => {
    const timer = setTimeout(done, milliseconds);
    wake = () => { clearTimeout(timer); done(null); };
  });
  for (const name of ["online", "pageshow", "focus"]) window.addEventListener(name, () => wake());

  /**
   * An answer of the server, or null where there was none: the network is gone, or a proxy answered for the server.
   * @param {string} path
   * @param {object | null} body
   * @param {number} milliseconds
   * @returns {Promise<any>}
   */
  async function ask(path, body, milliseconds) {
    const given = { headers: { "x-vote-id": id, ...(body && { "content-type": "application/json" }) }, signal: AbortSignal.timeout(milliseconds) };
    try {
      const answer = await fetch(`${encodeURIComponent(code)}/${path}`, body ? { ...given, method: "POST", body: JSON.stringify(body) } : given);
      return await answer.json();
    } catch {
      return null;
    }
  }

  function take(state) {
    if (link.version !== null && state.version < link.version) return; // an older answer that was overtaken
    link.version = state.version;
    on.state(state);
  }

  function stop(error) {
    link.isOver = true;
    on.ended(error);
  }

  // One request at a time, for as long as the page is open.
  async function listen() {
    let failures = 0;
    while (!link.isOver) {
      const isJoining = link.version === null;
      const state = isJoining ? await ask("join", {}, SEND_MILLISECONDS) : await ask(`state?since=${link.version}`, null, WAIT_MILLISECONDS);
      if (link.isOver) return;
      const isFailed = state === null || state.error === "too_fast";
      failures = isFailed ? failures + 1 : 0;
      on.offline(isFailed);
      if (isFailed) await pause(Math.min(MOST_PAUSE, 250 * 2 ** failures) * (0.5 + Math.random()));
      else if (state.phase === "ended") return stop("");
      else if (!state.error) take(state);
      else if (state.error === "no_right" && !isJoining) link.version = null; // joins again
      else return stop(isJoining ? state.error : "");
    }
  }

  // The last answer is sent; one that is overtaken by another need not arrive.
  async function send() {
    link.isSending = true;
    while (link.answer && !link.isOver) {
      const sent = link.answer;
      const state = await ask("answer", sent, SEND_MILLISECONDS);
      on.offline(state === null);
      if (state === null || state.error === "too_fast") await pause(1000 * (0.5 + Math.random()));
      else if (link.answer === sent) link.answer = null;
      if (state?.error && state.error !== "too_fast") on.refused(state.error);
      else if (state) take(state);
    }
    link.isSending = false;
  }

  listen();
  return {
    answer(said) {
      link.answer = said;
      if (!link.isSending) send();
      else wake();
    },
    waiting: () => link.answer,
  };
}
