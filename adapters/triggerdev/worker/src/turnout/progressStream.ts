/**
 * The progress that a task reports, as a realtime stream of its run: subscribers see every change,
 * while the metadata has the last one only.
 */
import { logger, streams } from "@trigger.dev/sdk";

/** The stream's name; a frontend reads it by `useRealtimeStream(run, "turnout")`. */
const NAME = "turnout";

export class ProgressStream {
  #last = "null";
  #sending: Promise<void> = Promise.resolve();

  /** Sends what is new, in order, while the run goes on. */
  send(progress: unknown): void {
    const part = JSON.stringify(progress ?? null);
    if (part === this.#last) return;
    this.#last = part;
    this.#sending = this.#sending.then(() => append(part));
  }

  settled(): Promise<void> {
    return this.#sending;
  }
}

/** A part that is lost is missed by those who look on, and by nobody else. */
async function append(part: string): Promise<void> {
  try {
    await streams.append(NAME, part);
  } catch (error) {
    logger.warn("the progress of the task was not streamed", { error: String(error) });
  }
}
