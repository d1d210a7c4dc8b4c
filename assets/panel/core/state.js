// The panel's state: what is on screen, what the reader looks at, and what is waited for. `update` is the one function that changes it; the
// runs that are kept in it change by the functions of history.js. The type checker refuses any other assignment.

import { emptyHistory } from "./history.js";
import { emptyRun } from "./run.js";

/** @import { Asked, Entry, History } from "./history.js" */
/** @import { Run, StopReason } from "./run.js" */
/** @import { LeaveOneOut } from "./why.js" */

/**
 * A question to the server or the engine, from when it is asked until a run begins or it fails.
 * @typedef {object} Question
 * @property {string} [kind] what is asked beside a run of the fields: "branch", "beam", "score", "prompt", "agree", "draw", "named", "why", "link"
 * @property {string} [model]
 * @property {string} [prompt]
 * @property {number} [steps]
 * @property {number} [choices]
 * @property {[number, number][]} [forced] picks: a step and a token id
 * @property {boolean} [past_end]
 * @property {import("./how_picked.js").Sampling} [sampling]
 * @property {boolean} [as_message]
 * @property {string} [id] the address that names it, where one does
 * @property {boolean} [isCancelled] no run will come of it
 * @property {boolean} [isAnswered] the server has begun to answer, be it with a refusal
 */

/**
 * @typedef {object} Fields What the page's fields hold. An emptied number is "".
 * @property {string} prompt
 * @property {number | ""} steps
 * @property {number | ""} choices
 * @property {string} model
 * @property {boolean} [past_end]
 * @property {boolean} [as_message] the prompt is a message to the assistant
 */

/**
 * @typedef {object} WhyAsked
 * @property {Run} run
 * @property {number} step
 * @property {string} by what is left out
 * @property {string} against the id of another candidate; "" for none
 * @property {number} number the question's
 * @property {string} refusal why there is no lens
 * @property {boolean} [opens] its tab is still to come into sight
 * @property {LeaveOneOut | null} [growing] what has come of leaving out
 * @property {boolean} [isStopped]
 */

/**
 * @typedef {object} MutableState
 * @property {Run} whole the run on screen
 * @property {Run} run as much of it as may be seen: less only while the reader predicts
 * @property {number} chosen the step that is looked at; -1 before there is one
 * @property {boolean} followsLast the last step is chosen whenever one comes
 * @property {number | null} forkStep the step of a fork that is being written, at which the reader stays
 * @property {boolean} isWaiting a question is open
 * @property {Run | null} scoring the run of whose prompt the scores were asked for
 * @property {Question | null} request what was asked for and has not begun
 * @property {boolean} isLinkRefused the run of the link that was opened cannot be had
 * @property {WhyAsked | null} why what was asked last about a step
 * @property {string | null} soughtTab the tab that was opened, and comes into sight once it is drawn
 * @property {boolean} isSilent nothing has come for a while
 * @property {Fields | null} fields the page's fields, once they are known
 * @property {Fields | null} followedFields what the fields were last told to follow
 * @property {number | null} player the timer of the player, while it plays
 * @property {readonly string[]} models those that can be asked here
 * @property {History} history the runs that are kept
 */

/** @typedef {Readonly<MutableState>} State */

/** Questions that are answered by a sentence or by numbers, and by no other run. */
export const ANSWERED_HERE = ["agree", "draw", "named", "why"];

/**
 * @typedef {object} Panel What views and tabs may ask of the panel.
 * @property {(step: number) => void} choose a step to look at
 * @property {(entry: Entry, step: number) => void} showStep a step of one of the runs, which comes on screen with it
 * @property {(on: boolean) => void} play
 * @property {(entry: Entry, options?: { fieldsFollow?: boolean }) => void} show a run; the page's fields follow it, or not
 * @property {(text: string, name: string) => void} openRun the run of a file
 * @property {(reason: StopReason, message: string) => void} endRun the run that is being written, where the page knows why
 * @property {(line: string) => void} addScores of the prompt, which were asked for
 * @property {(request: Question & Fields) => void} startRequest what Run was pressed with
 * @property {(kind: string, question: object, options?: Partial<Omit<Asked, "parent">>) => boolean} ask the server
 * @property {(step: number, tokenId: number, placeToShow?: string) => void} branch
 * @property {(name: string) => void} openTab for a reader who asked for it: it comes into sight
 * @property {Record<string, () => void>} moves of the player, by the names of its buttons
 * @property {() => void} schedule a drawing
 * @property {() => void} scheduleTab a drawing of the open tab alone
 * @property {() => void} redraw all of it, as in another language
 */

/** @typedef {(kind: string, detail: object) => void} Trigger tells the page (Gradio, or the static site) of a question */

/** @typedef {(form: string, body: any) => Promise<Response>} Convert a run in another form, or a file's text as the run that it is */

/**
 * @param {readonly string[]} models
 * @returns {State}
 */
export function emptyState(models) {
  return {
    whole: emptyRun(),
    run: emptyRun(),
    chosen: -1,
    followsLast: true,
    forkStep: null,
    isWaiting: false,
    scoring: null,
    request: null,
    isLinkRefused: false,
    why: null,
    soughtTab: null,
    isSilent: false,
    fields: null,
    followedFields: null,
    player: null,
    models,
    history: emptyHistory(),
  };
}

/**
 * @param {State} state
 * @param {Partial<MutableState>} changes
 */
export function update(state, changes) {
  Object.assign(state, changes);
}
