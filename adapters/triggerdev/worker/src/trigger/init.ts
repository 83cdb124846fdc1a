/** Global hooks: loaded once in every worker process, before the tasks. */
import { tasks } from "@trigger.dev/sdk";
import { beforeLimit } from "../turnout/limit.js";
import { report } from "../turnout/reports.js";
import { RunFailed } from "../turnout/run.js";

tasks.middleware("turnout", async ({ payload, ctx, next }) => {
  const stop = beforeLimit(ctx.run.maxDuration, () => void report("timed_out", payload, ctx));
  try {
    await next();
  } finally {
    stop();
  }
});

// Not waited for: the run's first call says more, and says it now.
tasks.onStartAttempt("turnout", ({ payload, ctx }) => void report("started", payload, ctx));

tasks.onSuccess("turnout", ({ payload, ctx }) => report("completed", payload, ctx));

tasks.onFailure("turnout", ({ payload, ctx }) => report("failed", payload, ctx));

tasks.onCancel("turnout", ({ payload, ctx }) => report("cancelled", payload, ctx));

// What the service calls failed has failed for good; all else is tried again by the task's budget.
tasks.catchError("turnout", ({ error }) =>
  error instanceof RunFailed ? { skipRetrying: true } : undefined,
);
