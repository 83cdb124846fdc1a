/**
 * Tells the service how vendor runs begin and end: the platform itself tells nobody.
 *
 * A report is a hint: the service looks at the run, and believes only what it sees.
 */
import { logger, type TaskRunContext } from "@trigger.dev/sdk";
import { Unreadable } from "./json.js";
import { call, type Event } from "./messages.js";
import { identityOf } from "./run.js";
import { definition, service } from "./setting.js";

/** Reports an event of a vendor run; never rejects, because a hint must not fail a run. */
export async function report(event: Event, payload: unknown, ctx: TaskRunContext): Promise<void> {
  try {
    const identity = identityOf(payload, ctx, definition.digest);
    await service().hint(call(identity, { op: "report", event, at: Date.now() }));
  } catch (error) {
    if (error instanceof Unreadable) return; // Turnout did not send it: it is nobody's business.
    logger.warn("not reported", { event, error: String(error) });
  }
}
