/**
 * What a task says of itself, as a realtime stream of its run: subscribers see every change, where
 * the metadata shows the last one alone.
 */
import { logger, streams } from "@trigger.dev/sdk";

/** The stream's name; a frontend reads it by `useRealtimeStream(run, "turnout")`. */
const NAME = "turnout";

export class SaidStream {
  #last = "null";
  #sending: Promise<void> = Promise.resolve();

  /** Sends what is new, in order, while the run goes on. */
  tell(told: unknown): void {
    const part = JSON.stringify(told ?? null);
    if (part === this.#last) return;
    this.#last = part;
    this.#sending = this.#sending.then(() => append(part));
  }

  sent(): Promise<void> {
    return this.#sending;
  }
}

/** A part that is lost is missed by those who look on, and by nobody else. */
async function append(part: string): Promise<void> {
  try {
    await streams.append(NAME, part);
  } catch (error) {
    logger.warn("what the task said was not streamed", { error: String(error) });
  }
}
