/**
 * The worker loop: advance, execute, park, until the run ends.
 *
 * It keeps no state of its own: a run that begins again from the top asks the service, and goes on
 * where the journal is. It knows neither the vendor nor HTTP.
 */
import { Follower, type Outlet } from "./follow.js";
import type { Fields } from "./json.js";
import {
  call,
  type Identity,
  type Message,
  type Next,
  type Park,
  type Progress,
  readExecuted,
  readNext,
  type Receipt,
  type Start,
} from "./messages.js";
import { Pauses } from "./pauses.js";

const SHORT_SLEEP = 5_000;
/** The first pause when nothing is left of a wait by this clock; it grows while that is so. */
const SHORTEST_SLEEP = 5;
const LONGEST_TOKEN = 24 * 3_600_000;
/** Before asking again when an answer says neither what to run nor what to wait for. */
const STILL = 50;
/** Before looking again at a run that streams, which stays in the process for that. */
const STREAMING = 1_000;
/** The longest that a timer of this runtime can wait. */
const LONGEST_TIMER = 2 ** 31 - 1;
/** Reasons that only time ends. */
const TIMED: ReadonlySet<string> = new Set(["sleep", "backoff"]);

/** The service, as the loop needs it. */
export interface StepClient {
  ask(message: Message, signal: AbortSignal): Promise<Fields>;
}

/** What the loop needs of the vendor's run that it is in. */
export interface Host extends Outlet {
  /** A token that a wake completes, or time; the same key gives the same token. */
  newToken(key: string, until: Date): Promise<string>;
  /** Settles when the token is completed or timed out. */
  wait(token: string): Promise<void>;
  /** Sleeps in process. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  /** Shows an attempt of a step, and how it ended. */
  span<T>(start: Start, work: (ended: (receipt: Receipt) => void) => Promise<T>): Promise<T>;
  /** Shows how far the run is. */
  progress(progress: Progress): void;
}

/** Works on a run until it ends, and gives its last Next. The signal closes all calls. */
export async function drive(
  identity: Identity,
  service: StepClient,
  host: Host,
  signal: AbortSignal,
): Promise<Next> {
  const closing = new AbortController();
  const loop = new Loop(identity, service, host, AbortSignal.any([signal, closing.signal]));
  try {
    return await loop.run();
  } finally {
    closing.abort();
    loop.close();
  }
}

interface Answered {
  readonly key: string;
  readonly next: Next;
}

class Loop {
  readonly #calls = new Map<string, Promise<Answered>>();
  readonly #waits = new Map<number, number>();
  readonly #pauses = new Pauses();
  readonly #follower: Follower;
  #next: Next | undefined;

  constructor(
    private readonly identity: Identity,
    private readonly service: StepClient,
    private readonly host: Host,
    private readonly signal: AbortSignal,
  ) {
    const report = (seq: number, latest: unknown) => this.#report(seq, latest);
    this.#follower = new Follower(identity, service, host, signal, report);
  }

  async run(): Promise<Next> {
    let current = await this.#advance();
    while (current.state === "queued" || current.state === "running") {
      current = await this.#step(current);
    }
    await this.#follower.settled();
    return current;
  }

  close(): void {
    this.#follower.close();
  }

  #step(current: Next): Promise<Next> {
    if (this.#calls.size > 0) return this.#answered(current);
    if (current.park !== undefined) return this.#park(current, current.park);
    return this.#sleep(this.#pauses.least(current, STILL));
  }

  async #advance(): Promise<Next> {
    const answer = await this.service.ask(call(this.identity, { op: "advance" }), this.signal);
    return this.#take(readNext(answer));
  }

  /** Follows an answer unless a later one is known; what runs already is not started twice. */
  #take(answer: Next): Next {
    if (this.#next !== undefined && answer.seq < this.#next.seq) return this.#next;
    this.#next = answer;
    this.host.progress(answer.progress);
    this.#follower.heard(answer.progress.chunks);
    for (const start of answer.run) {
      const key = `${start.attempt} ${start.step}`;
      if (!this.#calls.has(key)) this.#calls.set(key, handled(this.#execute(start, key)));
    }
    return answer;
  }

  /** Shows the progress that a step reports while it runs, unless a later answer is known. */
  #report(seq: number, latest: unknown): void {
    if (this.#next === undefined || seq < this.#next.seq) return;
    this.host.progress({ ...this.#next.progress, latest });
  }

  #execute(start: Start, key: string): Promise<Answered> {
    const { step, attempt } = start;
    return this.host.span(start, async (ended) => {
      const message = call(this.identity, { op: "execute", step, attempt });
      const answer = this.service.ask(message, this.signal);
      const executed = readExecuted(await this.#follower.during(answer));
      ended(executed.receipt);
      return { key, next: executed.next };
    });
  }

  /**
   * Waits for the first of the calls in flight. A park beside them is a timer in this process,
   * never the vendor's wait: that would freeze the calls.
   */
  async #answered(current: Next): Promise<Next> {
    const done = new AbortController();
    const calls = [...this.#calls.values()];
    try {
      const first = await Promise.race([...calls, this.#timer(current, done.signal)]);
      if (first === undefined) return await this.#advance();
      this.#calls.delete(first.key);
      return this.#take(first.next);
    } finally {
      done.abort();
    }
  }

  /** Settles with undefined when the time has come; never, without a time. */
  async #timer(current: Next, done: AbortSignal): Promise<undefined> {
    const until = current.park?.until;
    if (until === undefined) return new Promise<undefined>(() => undefined);
    const least = this.#pauses.least(current, STILL);
    await this.host.sleep(Math.min(Math.max(least, until - Date.now()), LONGEST_TIMER), done);
    return undefined;
  }

  async #park(current: Next, park: Park): Promise<Next> {
    const left = (park.until ?? Number.POSITIVE_INFINITY) - Date.now();
    const timed = park.reasons.every((reason) => TIMED.has(reason));
    if (timed && left <= SHORT_SLEEP) return this.#sleep(Math.max(this.#least(current), left));
    // The vendor's wait would hold back what a step streams that goes on without us.
    if (park.reasons.includes("step") && this.#follower.lively) return this.#sleep(STREAMING);
    // The last token ended at once: by the vendor's clock, or by a wake that brought nothing.
    const least = this.#least(current);
    if (this.#pauses.again) await this.host.sleep(least, this.signal);
    const until = new Date(Date.now() + Math.min(LONGEST_TOKEN, Math.max(0, left)));
    const token = await this.host.newToken(this.#tokenKey(current.seq), until);
    // Registered, then asked again: a wake between the last answer and the wait cannot be lost.
    const message = call(this.identity, { op: "park", seq: current.seq, token });
    const answer = await this.service.ask(message, this.signal);
    if (answer["go"] !== true) return this.#take(readNext(answer["next"]));
    await this.#follower.settled();
    await this.host.wait(token);
    return this.#advance();
  }

  #least(current: Next): number {
    return this.#pauses.least(current, SHORTEST_SLEEP);
  }

  async #sleep(ms: number): Promise<Next> {
    await this.host.sleep(ms, this.signal);
    return this.#advance();
  }

  /** A key of its own for each wait: a token completed before would end the next one at once. */
  #tokenKey(seq: number): string {
    const number = this.#waits.get(seq) ?? 0;
    this.#waits.set(seq, number + 1);
    const key = `${this.identity.run_id}.${this.identity.delivery}.${seq}`;
    return number === 0 ? key : `${key}.${number}`;
  }
}

/** Keeps a promise that may lose a race from counting as an unhandled rejection. */
function handled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}
