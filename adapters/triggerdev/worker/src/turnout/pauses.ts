/** How long to pause, at the least, before the service is asked again. */
import type { Next } from "./messages.js";

const LONGEST = 2_000;
/** A wait that took longer than this was a wait, whatever the clocks say. */
const LONG = 2 * LONGEST;

/**
 * Doubles the pause while the answer stays the same.
 *
 * The moment of a wait is the service's. Where this clock is ahead of that one the moment is past
 * here and not there, and the service gives the same wait again; to ask at once would ask without
 * end.
 */
export class Pauses {
  #asked = "";
  #times = 0;
  #at = 0;

  constructor(private readonly now: () => number = () => performance.now()) {}

  /** The pause for this answer; `first` when it is another answer than the last one. */
  least(answer: Next, first: number): number {
    const asked = `${answer.seq} ${answer.park?.until}`;
    const again = asked === this.#asked && this.now() - this.#at < LONG;
    this.#times = again ? this.#times + 1 : 0;
    this.#asked = asked;
    this.#at = this.now();
    return Math.max(first, Math.min(LONGEST, first * 2 ** Math.min(this.#times, 16)));
  }

  /** Whether the last answer was the same as the one before it, and came soon after it. */
  get again(): boolean {
    return this.#times > 0;
  }
}
