/** Registers one task for each task of the service, one for all schedules, one that probes. */
import { queue, schedules, task } from "@trigger.dev/sdk";
import type { TaskDefinition } from "../turnout/definition.js";
import { vendorHost } from "../turnout/host.js";
import { PROTOCOL } from "../turnout/messages.js";
import { probe } from "../turnout/probe.js";
import { identityOrFail, work } from "../turnout/run.js";
import { definition, service, serviceUrl } from "../turnout/setting.js";
import { tick } from "../turnout/tick.js";

/** The infrastructure budget: how often a vendor run is tried when its process or network fails. */
const RETRY = { maxAttempts: 5, factor: 2, minTimeoutInMs: 500, maxTimeoutInMs: 20_000, randomize: true };

for (const declared of definition.tasks) {
  if (declared.schedule) scheduled(declared);
  else if (declared.probe) probing(declared);
  else stepped(declared);
}

function stepped(declared: TaskDefinition): void {
  task({
    ...optionsOf(declared),
    run: async (payload: unknown, { ctx, signal }) => {
      const identity = identityOrFail(payload, ctx, definition.digest);
      const host = vendorHost();
      try {
        return await work(identity, service(), host, signal);
      } finally {
        await host.close();
      }
    },
  });
}

function scheduled(declared: TaskDefinition): void {
  schedules.task({
    ...optionsOf(declared),
    run: async (payload, { ctx, signal }) =>
      tick(
        {
          protocol: PROTOCOL,
          op: "tick",
          schedule: payload.externalId ?? payload.scheduleId,
          slot: payload.timestamp.getTime(),
          provider: "triggerdev",
          provider_run_id: ctx.run.id,
        },
        service(),
        signal,
      ),
  });
}

function probing(declared: TaskDefinition): void {
  task({
    ...optionsOf(declared),
    run: (_: unknown, { signal }) => probe(service(), serviceUrl(), definition.digest, signal),
  });
}

/** Limits at the vendor are ceilings: the service's own come first. */
function optionsOf({ id, queue: name, concurrency, maxAttempts, maxDuration, ttl }: TaskDefinition) {
  return {
    id,
    queue: queue({ name }),
    retry: { ...RETRY, ...(maxAttempts !== undefined && { maxAttempts }) },
    ...(concurrency !== undefined && { concurrency }),
    ...(maxDuration !== undefined && { maxDuration }),
    ...(ttl !== undefined && { ttl }),
  };
}
