/** The definition file that `turnout triggerdev build` writes: which tasks, and where the service is. */
import { countOf, fieldsOf, listOf, optional, textOf, Unreadable } from "./json.js";
import { PROTOCOL } from "./messages.js";
import { faultOf } from "./origin.js";

export interface TaskDefinition {
  readonly id: string;
  /** A task that schedules start: its runs only tell the service of the slot. */
  readonly schedule: boolean;
  /** A task that looks at the way to the service. */
  readonly probe: boolean;
  readonly queue: string;
  readonly concurrency: { readonly perKey?: number; readonly total?: number } | undefined;
  /** How often a vendor run may be tried: the infrastructure budget, not the steps' attempts. */
  readonly maxAttempts: number | undefined;
  /** Seconds of execution, waits not counted. */
  readonly maxDuration: number | undefined;
  /** How long a run may be queued; 0 for ever. */
  readonly ttl: string | number | undefined;
}

export interface Definition {
  /** The sha256 by which the service knows the app that this file was built from. */
  readonly digest: string;
  readonly service: string;
  readonly tasks: readonly TaskDefinition[];
}

const DIGEST = /^[0-9a-f]{64}$/;
const QUEUE = /^[A-Za-z0-9_/-]{1,128}$/;

/** Reads a definition; Unreadable names the field that is wrong. */
export function readDefinition(value: unknown): Definition {
  const fields = fieldsOf(value, "definition file");
  if (fields["protocol"] !== PROTOCOL) {
    throw new Unreadable(`protocol: this worker speaks ${PROTOCOL}; build and copy it again`);
  }
  const tasks = listOf(fields["tasks"], "tasks").map(taskOf);
  const ids = new Set(tasks.map((task) => task.id));
  if (ids.size !== tasks.length) throw new Unreadable("tasks: two have the same id");
  return {
    digest: matching(fields["definition"], "definition", DIGEST),
    service: serviceOf(fields["service"]),
    tasks,
  };
}

function serviceOf(value: unknown): string {
  const address = textOf(value, "service");
  const fault = faultOf(address);
  if (fault !== undefined) throw new Unreadable(`service: ${fault}`);
  return address;
}

function taskOf(value: unknown, at: number): TaskDefinition {
  const where = `tasks[${at}]`;
  const fields = fieldsOf(value, where);
  const id = textOf(fields["id"], `${where}.id`);
  return {
    id,
    schedule: fields["schedule"] === true,
    probe: fields["probe"] === true,
    queue: matching(fields["queue"] ?? queueOf(id), `${where}.queue`, QUEUE),
    concurrency: optional(fields["concurrency"], `${where}.concurrency`, concurrencyOf),
    maxAttempts: optional(fields["maxAttempts"], `${where}.maxAttempts`, countOf),
    maxDuration: optional(fields["maxDuration"], `${where}.maxDuration`, countOf),
    ttl: optional(fields["ttl"], `${where}.ttl`, ttlOf),
  };
}

/** A task's own queue; a queue's name takes fewer characters than a task's id. */
function queueOf(id: string): string {
  return `turnout/${id.replace(/[^A-Za-z0-9_/-]/g, "-")}`.slice(0, 128);
}

function concurrencyOf(value: unknown, where: string): { perKey?: number; total?: number } {
  const fields = fieldsOf(value, where);
  const perKey = optional(fields["perKey"], `${where}.perKey`, countOf);
  const total = optional(fields["total"], `${where}.total`, countOf);
  return { ...(perKey !== undefined && { perKey }), ...(total !== undefined && { total }) };
}

function ttlOf(value: unknown, where: string): string | number {
  return typeof value === "string" ? value : countOf(value, where);
}

function matching(value: unknown, where: string, shape: RegExp): string {
  const text = textOf(value, where);
  if (!shape.test(text)) throw new Unreadable(`${where}: does not look like ${shape.source}`);
  return text;
}
