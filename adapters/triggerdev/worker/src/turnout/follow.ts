/**
 * Passes on what the run streams: asks the service for the chunks after those that were passed on,
 * while steps are at work and as answers tell of new ones.
 *
 * Nothing of it may fail a run or hold it up for long: what cannot be passed on stays in the
 * service's journal. It knows neither the vendor nor HTTP.
 */
import type { StepClient } from "./loop.js";
import { call, type Chunk, type Identity, readFollowed } from "./messages.js";

/** Where chunks go. */
export interface Outlet {
  /** How many were passed on by earlier attempts of this vendor run. */
  passed(): number;
  /** Passes on chunks of one stream, in order; settles when they are there. */
  pass(stream: string, chunks: readonly unknown[], signal: AbortSignal): Promise<void>;
  /** Keeps for later attempts how many have been passed on. */
  remember(passed: number): Promise<void>;
  /** Hears why no more is passed on. */
  givenUp(reason: unknown): void;
}

/** In milliseconds: before a call in flight is looked behind first, and at the longest again. */
export interface Pace {
  readonly first: number;
  readonly most: number;
  /** What the vendor has not taken by then counts as not taken. */
  readonly taken: number;
}

const PACE: Pace = { first: 1_000, most: 5_000, taken: 30_000 };
const SLOWER = 1.5;
/** A run that streamed this long ago is taken to go on with it. */
const LIVELY = 30_000;
/** Tries of chunks that the vendor does not take. */
const MOST_FAILURES = 3;
/** How long the end of a run, or its wait, may be held up. */
const PATIENCE = 10_000;

interface Part {
  readonly stream: string;
  readonly chunks: readonly unknown[];
}

export class Follower {
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  #passed: number;
  #recorded = 0;
  #parts: Part[] = [];
  #batch = 0;
  #calls = 0;
  #quiet = 0;
  #news = 0;
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;

  constructor(
    private readonly identity: Identity,
    private readonly service: StepClient,
    private readonly outlet: Outlet,
    signal: AbortSignal,
    /** Takes the progress that the task reported last, as of this seq. */
    private readonly report: (seq: number, latest: unknown) => void,
    private readonly pace: Pace = PACE,
  ) {
    this.#signal = AbortSignal.any([signal, this.#stop.signal]);
    this.#passed = outlet.passed();
  }

  /** Whether the run has streamed lately. */
  get lively(): boolean {
    return !this.#signal.aborted && Date.now() - this.#news < LIVELY;
  }

  /** Takes from an answer how many chunks are recorded, and begins to pass on what is new. */
  heard(recorded: number): void {
    this.#recorded = Math.max(this.#recorded, recorded);
    if (this.#behind) void this.#look();
  }

  /** Looks now and then until a call is answered: a step tells of its chunks only as it ends. */
  async during<T>(answer: Promise<T>): Promise<T> {
    this.#calls += 1;
    if (this.#calls === 1) this.#lookIn(this.#pause());
    try {
      return await answer;
    } finally {
      this.#calls -= 1;
      if (this.#calls === 0) clearTimeout(this.#timer);
    }
  }

  /** Settles when all that was heard of is passed on, or after some patience. */
  async settled(patience = PATIENCE): Promise<void> {
    if (!this.#behind) return;
    const late = AbortSignal.any([AbortSignal.timeout(patience), this.#signal]);
    const over = new Promise<void>((resolve) => {
      late.addEventListener("abort", () => resolve(), { once: true });
    });
    while (this.#behind && !late.aborted) await Promise.race([this.#look(), over]);
  }

  /** Passes on nothing more; what is under way is broken off. */
  close(): void {
    clearTimeout(this.#timer);
    this.#stop.abort();
  }

  get #behind(): boolean {
    return this.#passed < this.#recorded && !this.#signal.aborted;
  }

  #lookIn(ms: number): void {
    clearTimeout(this.#timer);
    if (this.#signal.aborted) return;
    this.#timer = setTimeout(() => void this.#lookAndAgain(), ms);
  }

  async #lookAndAgain(): Promise<void> {
    await this.#look();
    if (this.#calls > 0) this.#lookIn(this.#pause());
  }

  /** Less often while nothing comes. */
  #pause(): number {
    return Math.min(this.pace.most, this.pace.first * SLOWER ** this.#quiet);
  }

  /** One look at a time; those who come meanwhile wait for the same. */
  #look(): Promise<void> {
    this.#looking ??= this.#passOn().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #passOn(): Promise<void> {
    try {
      do {
        if (this.#parts.length === 0) await this.#ask();
      } while ((await this.#passParts()) && this.#behind);
    } catch (error) {
      // The service does not follow: it is an older one, or this vendor run is over.
      this.#giveUp(error);
    }
  }

  async #ask(): Promise<void> {
    const before = this.#recorded;
    const message = call(this.identity, { op: "follow", streamed: this.#passed });
    const { seq, recorded, chunks, latest } = readFollowed(
      await this.service.ask(message, this.#signal),
    );
    this.report(seq, latest);
    if (chunks.length === 0) {
      this.#quiet += 1;
      // What is not told cannot be passed on: it is not asked for again and again.
      if (this.#recorded === before) this.#recorded = this.#passed;
      return;
    }
    this.#quiet = 0;
    this.#news = Date.now();
    this.#batch = chunks.length;
    this.#parts = parts(chunks);
    this.#recorded = Math.max(this.#recorded, recorded);
  }

  /** False when the vendor did not take them: they are kept for the next look. */
  async #passParts(): Promise<boolean> {
    const [first] = this.#parts;
    if (first === undefined) return true;
    try {
      const late = AbortSignal.any([this.#signal, AbortSignal.timeout(this.pace.taken)]);
      await inTime(this.outlet.pass(first.stream, first.chunks, late), late);
    } catch (error) {
      this.#failures += 1;
      if (this.#failures >= MOST_FAILURES) this.#giveUp(error);
      return false;
    }
    this.#failures = 0;
    this.#parts.shift();
    if (this.#parts.length === 0) {
      this.#passed += this.#batch;
      await this.outlet.remember(this.#passed);
    }
    return true;
  }

  #giveUp(reason: unknown): void {
    const behind = this.#behind;
    this.close();
    if (behind) this.outlet.givenUp(reason);
  }
}

/** What is promised, unless the signal comes first: a connection may stand still without an end. */
async function inTime(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  promise.catch(() => undefined); // It may lose the race.
  aborted.catch(() => undefined);
  await Promise.race([promise, aborted]);
}

/** Sorts chunks by stream; each stream keeps its order. */
function parts(chunks: readonly Chunk[]): Part[] {
  const byStream = new Map<string, unknown[]>();
  for (const { stream, chunk } of chunks) {
    const values = byStream.get(stream);
    if (values === undefined) byStream.set(stream, [chunk]);
    else values.push(chunk);
  }
  return [...byStream].map(([stream, values]) => ({ stream, chunks: values }));
}
