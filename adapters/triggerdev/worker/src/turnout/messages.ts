/**
 * The step protocol, version 1: what this worker and the service say to each other.
 *
 * The service publishes the same as OpenAPI under /turnout/v1/openapi.json.
 */
import { countOf, type Fields, fieldsOf, listOf, optional, textOf } from "./json.js";

export const PROTOCOL = 1;
export const STEP_PATH = "/turnout/v1/step";
export const LARGEST_MESSAGE = 1024 * 1024;

/** Who speaks: every message of a vendor attempt carries it. */
export interface Identity {
  readonly task: string;
  readonly definition: string;
  readonly run_id: string;
  readonly delivery: number;
  readonly provider_run_id: string;
  readonly provider_attempt: number;
}

export type Event = "started" | "completed" | "failed" | "cancelled" | "timed_out";

type Op =
  | { readonly op: "advance" }
  | { readonly op: "execute"; readonly step: string; readonly attempt: number }
  | { readonly op: "park"; readonly seq: number; readonly token: string }
  | { readonly op: "follow"; readonly streamed: number }
  | { readonly op: "report"; readonly event: Event; readonly at: number };

/** A message of a vendor run. */
export type Call = Op & Identity & { readonly protocol: typeof PROTOCOL };

/** A schedule's slot is due; it belongs to no run yet. */
export interface Tick {
  readonly protocol: typeof PROTOCOL;
  readonly op: "tick";
  readonly schedule: string;
  /** The nominal time in the vendor's payload, never the clock. */
  readonly slot: number;
  readonly provider: "triggerdev";
  readonly provider_run_id: string;
}

/** Is the service there, does it take our signature, does it know our definition? */
export interface Probe {
  readonly protocol: typeof PROTOCOL;
  readonly op: "probe";
  readonly definition: string;
}

export type Message = Call | Tick | Probe;

/** A message of this identity. */
export function call(identity: Identity, op: Op): Call {
  return { protocol: PROTOCOL, ...identity, ...op };
}

/** One attempt of a step to start now. */
export interface Start {
  readonly step: string;
  readonly attempt: number;
  /** What to show, with the attempt's number in it. */
  readonly label: string;
}

export interface Park {
  readonly until: number | undefined;
  readonly reasons: readonly string[];
}

export interface Problem {
  readonly name: string;
  readonly message: string;
}

const STATES = ["queued", "running", "completed", "failed", "cancelled", "timed_out"] as const;
export type State = (typeof STATES)[number];

/** How far a run is, as the service tells it. */
export interface Progress {
  readonly done: number;
  readonly current: readonly string[];
  /** The progress that the task reported last; `told` on the wire. */
  readonly latest: unknown;
  /** How many chunks the run has streamed that may be passed on. */
  readonly chunks: number;
}

/** What to do next; of several answers, the one with the highest seq counts. */
export interface Next {
  readonly seq: number;
  readonly state: State;
  readonly run: readonly Start[];
  readonly park: Park | undefined;
  readonly sha256: string | undefined;
  readonly error: Problem | undefined;
  readonly progress: Progress;
}

/** What became of one attempt. */
export interface Receipt {
  readonly outcome: string;
  readonly durationMs: number | undefined;
  readonly error: Problem | undefined;
}

export interface Executed {
  readonly receipt: Receipt;
  readonly next: Next;
}

/** A piece of one of the run's streams. */
export interface Chunk {
  readonly stream: string;
  readonly chunk: unknown;
}

/** What the run has streamed after what was passed on, or the beginning of it. */
export interface Followed {
  readonly seq: number;
  /** All that there are; there may be more than was told. */
  readonly recorded: number;
  readonly chunks: readonly Chunk[];
  readonly latest: unknown;
}

/** Reads the service's answer to advance; Unreadable names the field that is wrong. */
export function readNext(value: unknown): Next {
  const fields = fieldsOf(value, "next");
  const result = optional(fields["result"], "next.result", fieldsOf);
  return {
    seq: countOf(fields["seq"], "next.seq"),
    state: stateOf(fields["state"]),
    run: listOf(fields["run"] ?? [], "next.run").map(startOf),
    park: optional(fields["park"], "next.park", parkOf),
    sha256: optional(result?.["sha256"], "next.result.sha256", textOf),
    error: optional(fields["error"], "next.error", problemOf),
    progress: progressOf(optional(fields["progress"], "next.progress", fieldsOf) ?? {}),
  };
}

/** Reads the service's answer to execute. */
export function readExecuted(value: unknown): Executed {
  const fields = fieldsOf(value, "executed");
  const receipt = fieldsOf(fields["receipt"], "receipt");
  return {
    receipt: {
      outcome: textOf(receipt["outcome"], "receipt.outcome"),
      durationMs: optional(receipt["duration_ms"], "receipt.duration_ms", countOf),
      error: optional(receipt["error"], "receipt.error", problemOf),
    },
    next: readNext(fields["next"]),
  };
}

/** Reads the service's answer to follow. */
export function readFollowed(value: unknown): Followed {
  const fields = fieldsOf(value, "followed");
  return {
    seq: countOf(fields["seq"], "followed.seq"),
    recorded: countOf(fields["recorded"], "followed.recorded"),
    chunks: listOf(fields["chunks"] ?? [], "followed.chunks").map(chunkOf),
    latest: fields["told"] ?? null,
  };
}

function chunkOf(value: unknown, at: number): Chunk {
  const where = `followed.chunks[${at}]`;
  const fields = fieldsOf(value, where);
  return { stream: textOf(fields["stream"], `${where}.stream`), chunk: fields["chunk"] ?? null };
}

function stateOf(value: unknown): State {
  const state = STATES.find((name) => name === value);
  // A state of a later protocol: to go on would be to guess.
  return state ?? unknownState(textOf(value, "next.state"));
}

function unknownState(state: string): never {
  throw new RangeError(`the service answered an unknown state '${state}'`);
}

function startOf(value: unknown, at: number): Start {
  const where = `next.run[${at}]`;
  const fields = fieldsOf(value, where);
  const step = textOf(fields["step"], `${where}.step`);
  const attempt = countOf(fields["attempt"], `${where}.attempt`);
  const label = optional(fields["label"], `${where}.label`, textOf) ?? `${step} #${attempt}`;
  return { step, attempt, label };
}

function parkOf(value: unknown, where: string): Park {
  const fields = fieldsOf(value, where);
  return {
    until: optional(fields["until"], `${where}.until`, countOf),
    reasons: listOf(fields["reasons"] ?? [], `${where}.reasons`).map((item) => textOf(item, where)),
  };
}

function problemOf(value: unknown, where: string): Problem {
  const fields = fieldsOf(value, where);
  return {
    name: textOf(fields["name"], `${where}.name`),
    message: textOf(fields["message"], `${where}.message`),
  };
}

function progressOf(fields: Fields): Progress {
  const current = listOf(fields["current"] ?? [], "progress.current");
  return {
    done: countOf(fields["done"] ?? 0, "progress.done"),
    current: current.map((item) => textOf(item, "progress.current")),
    latest: fields["told"] ?? null,
    chunks: countOf(fields["chunks"] ?? 0, "progress.chunks"),
  };
}
