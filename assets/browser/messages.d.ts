// Every message between a page and the engine's worker. The page's end is engine_client.js, and gpu_trial.js for the worker that tries WebGPU;
// the other is engine/worker.js. Knows not what either does with them.

import type { Limits, Texts } from "../panel/core/constants.js";
import type { Message } from "../panel/core/server_messages.js";
import type { ModelFacts } from "./model_facts.js";

/** Why WebGPU does not compute, and the values of its sentence in a run's header. */
export interface GpuFault {
  reason: "none" | "failed" | "differs" | "slower" | "lost";
  values: Record<string, string>;
}

/** What a run is asked for with, as fields, a link or the panel has it: engine/requests.js checks what is unknown. */
export interface RunQuestion {
  prompt: unknown;
  steps: unknown;
  choices: unknown;
  forced?: unknown;
}

/** With a text of one's own in place of the pick at step `at`. */
export type OwnTextQuestion = RunQuestion & { at?: number; text?: unknown };
/** A text that is read after the prompt. */
export type TextQuestion = RunQuestion & { text: unknown };
export type BeamQuestion = RunQuestion & { beams: unknown };

/** `run`: the lines of the run whose prompt is scored. */
export interface PromptQuestion {
  run: string;
}

/** `run`: its lines up to `step`. `against` is the id of another candidate; of the tokens before the step, the `last` ones are left out. */
export interface WhyQuestion {
  /** Which question of the page it is: its answer's lines bear it. */
  number: string;
  run: string;
  step: number;
  by: "tokens" | "words";
  against?: number | null;
  last?: number;
}

/** What the engine can be asked, by kind: each is answered by lines. */
export interface Questions {
  run: OwnTextQuestion;
  score: TextQuestion;
  beam: BeamQuestion;
  prompt: PromptQuestion;
  why: WhyQuestion;
}

export type QuestionKind = keyof Questions;

/** `id`s grow, so that `stop` ends all questions up to one. */
export type QuestionMessage = { [Kind in QuestionKind]: { kind: Kind; id: number; question: Questions[Kind] } }[QuestionKind];

export type LoadMessage = { kind: "load"; facts: ModelFacts; limits: Limits; sentences: Texts } & (
  | { device: "wasm"; fault: GpuFault | null }
  /** `isForced`: also on a software adapter, and where it is slower. */
  | { device: "webgpu"; isForced: boolean }
);

/** What WebAssembly computes for the ids of the check, and the milliseconds of its step: Infinity where they do not count. */
export interface Reference {
  rows: Float32Array[];
  milliseconds: number;
}

export type ToWorker =
  | { kind: "inspect"; facts: ModelFacts }
  | LoadMessage
  | { kind: "pause" }
  | QuestionMessage
  | { kind: "stop"; id: number }
  /** To the worker that computes over WebAssembly: make a reference, and why WebGPU is not used. */
  | { kind: "reference"; isForced: boolean }
  | { kind: "fault"; fault: GpuFault }
  /** To the worker that tries WebGPU. */
  | ({ kind: "compare" } & Reference);

/** Bytes that this browser has, of all. */
export interface Progress {
  here: number;
  total: number;
}

/** The download or the opening of the model ended. */
export interface Failure {
  kind: "failed";
  reason: "lost" | "sum" | "stopped" | "memory";
  file: string;
  error?: string;
}

export type FromWorker =
  | ({ kind: "inspected"; isSmall: boolean } & Progress)
  | ({ kind: "progress" } & Progress)
  | { kind: "unpacking" }
  | { kind: "ready" }
  | Failure
  | { kind: "line" | "why"; id: number; text: string }
  | { kind: "done"; id: number }
  | { kind: "refused"; id: number; field: string; message: Message }
  /** An error that is nobody's request: -1 where no question was being answered. */
  | { kind: "broken"; id: number; error?: string }
  | ({ kind: "reference" } & Reference)
  /** Of the worker that tries WebGPU. */
  | { kind: "trusted" }
  | ({ kind: "unfit"; error?: string } & GpuFault)
  | { kind: "lost" };

/** What a page hears of the engine, whichever worker computes: engine_client.js. */
export type EngineEvent =
  | Exclude<FromWorker, { kind: "reference" | "trusted" | "unfit" | "lost" | "broken" }>
  | { kind: "checking" }
  | { kind: "broken"; id: number; isOnGpu: boolean };
