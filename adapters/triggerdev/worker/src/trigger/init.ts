/** Global hooks: loaded once in every worker process, before the tasks. */
import { tasks } from "@trigger.dev/sdk";
import { report, stopEvent } from "../turnout/reports.js";
import { RunFailed } from "../turnout/run.js";

tasks.onStartAttempt("turnout", ({ payload, ctx, signal }) => {
  // Not waited for: the run's first call says more, and says it now.
  void report("started", payload, ctx);
  // The process has little time left when its run is stopped, so this does not wait for a hook.
  signal.addEventListener("abort", () => void report(stopEvent(signal), payload, ctx), {
    once: true,
  });
});

tasks.onSuccess("turnout", ({ payload, ctx }) => report("completed", payload, ctx));

tasks.onFailure("turnout", ({ payload, ctx }) => report("failed", payload, ctx));

tasks.onCancel("turnout", ({ payload, ctx }) => report("cancelled", payload, ctx));

// What the service calls failed has failed for good; all else is tried again by the task's budget.
tasks.catchError("turnout", ({ error }) =>
  error instanceof RunFailed ? { skipRetrying: true } : undefined,
);
