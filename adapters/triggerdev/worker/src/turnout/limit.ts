/**
 * Notices that a run is about to exceed the vendor's own limit, while there is time to say so: at
 * the limit the vendor kills the process, without a hook.
 */
import { usage } from "@trigger.dev/sdk";

const EVERY = 250;
/** The vendor looks once a second; this is before its first look that could find it exceeded. */
const BEFORE = 2 * EVERY;

/** Calls once when that moment comes; the result ends the watching. */
export function beforeLimit(maxDuration: number | undefined, then: () => void): () => void {
  if (maxDuration === undefined) return () => undefined;
  const timer = setInterval(() => {
    // Waits do not count here either.
    if (usage.getCurrent().compute.attempt.durationMs < maxDuration * 1000 - BEFORE) return;
    clearInterval(timer);
    then();
  }, EVERY);
  return () => clearInterval(timer);
}
