/** One vendor run, from its payload to its end. */
import type { TaskRunContext } from "@trigger.dev/sdk";
import { countOf, type Fields, fieldsOf, textOf, Unreadable } from "./json.js";
import { drive, type Host, type StepClient } from "./loop.js";
import type { Identity, Next } from "./messages.js";
import { EndQuietly } from "./service.js";

/** The run is over for good: the vendor must not try it again. Its name is the error's own. */
export class RunFailed extends Error {
  constructor(name: string, message: string) {
    super(message);
    this.name = name;
  }
}

/** What a vendor run answers: the result itself stays with the service. */
export type Output =
  | { readonly turnout: 1; readonly run_id: string; readonly sha256: string | null }
  | { readonly turnout: 1; readonly run_id: string; readonly ended: string };

/** Who this vendor attempt is. Unreadable: the run was not sent by Turnout. */
export function identityOf(payload: unknown, ctx: TaskRunContext, definition: string): Identity {
  const fields = fieldsOf(payload, "payload");
  return {
    task: taskOf(fields, ctx),
    definition,
    run_id: textOf(fields["run_id"], "payload.run_id"),
    delivery: countOf(fields["delivery"], "payload.delivery"),
    provider_run_id: ctx.run.id,
    provider_attempt: ctx.attempt.number,
  };
}

function taskOf(fields: Fields, ctx: TaskRunContext): string {
  return fields["task"] === undefined ? ctx.task.id : textOf(fields["task"], "payload.task");
}

/** Makes an identity, or fails the run by name: guessing would run something twice. */
export function identityOrFail(payload: unknown, ctx: TaskRunContext, definition: string): Identity {
  try {
    return identityOf(payload, ctx, definition);
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    throw new RunFailed("InvalidPayload", `no delivery of Turnout: ${error.message}`);
  }
}

/** Works on the run until it ends, here or at the service. */
export async function work(
  identity: Identity,
  service: StepClient,
  host: Host,
  signal: AbortSignal,
): Promise<Output> {
  const about = { turnout: 1, run_id: identity.run_id } as const;
  try {
    const last = await drive(identity, service, host, signal);
    throwIfFailed(last);
    if (last.state === "cancelled") return { ...about, ended: last.state };
    return { ...about, sha256: last.sha256 ?? null };
  } catch (error) {
    if (error instanceof EndQuietly) return { ...about, ended: error.code };
    throw error;
  }
}

function throwIfFailed(last: Next): void {
  if (last.state !== "failed" && last.state !== "timed_out") return;
  throw new RunFailed(last.error?.name ?? last.state, last.error?.message ?? "");
}
