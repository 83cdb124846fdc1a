import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { test } from "node:test";
import { Follower, type Outlet } from "../src/turnout/follow.js";
import type { Fields } from "../src/turnout/json.js";
import { drive, type Host, type StepClient } from "../src/turnout/loop.js";
import type { Identity, Message, Progress } from "../src/turnout/messages.js";

const IDENTITY: Identity = {
  task: "work",
  definition: "d",
  run_id: "r1",
  delivery: 2,
  provider_run_id: "run_1",
  provider_attempt: 1,
};
const QUICK = { first: 2, most: 4, taken: 20_000 };
const never = new AbortController().signal;

/** A vendor that notes what is passed on, and refuses a stream as often as it is told to. */
class Noting implements Outlet {
  readonly got: unknown[] = [];
  readonly kept: number[] = [];
  readonly reasons: unknown[] = [];
  readonly refusals = new Map<string, number>();
  constructor(private readonly before = 0) {}

  passed(): number {
    return this.before;
  }

  async pass(stream: string, chunks: readonly unknown[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const left = this.refusals.get(stream) ?? 0;
    this.refusals.set(stream, left - 1);
    if (left > 0) throw new Error(`no room for ${stream}`);
    this.got.push(...chunks.map((chunk) => [stream, chunk]));
  }

  async remember(passed: number): Promise<void> {
    this.kept.push(passed);
  }

  givenUp(reason: unknown): void {
    this.reasons.push(reason);
  }
}

/** A service that has recorded these chunks, and tells a few at a time. */
class Recorded implements StepClient {
  readonly asked: number[] = [];
  told: unknown = null;
  seq = 1;
  constructor(
    readonly chunks: (readonly [string, unknown])[] = [],
    private readonly atOnce = 2,
  ) {}

  async ask(message: Message, signal: AbortSignal): Promise<Fields> {
    signal.throwIfAborted();
    assert.equal(message.op, "follow");
    const after = "streamed" in message ? message.streamed : -1;
    this.asked.push(after);
    const found = this.chunks.slice(after, after + this.atOnce);
    return {
      seq: this.seq,
      recorded: this.chunks.length,
      chunks: found.map(([stream, chunk], at) => ({ number: after + at, stream, chunk })),
      told: this.told,
    };
  }
}

function follower(service: StepClient, outlet: Outlet, told = (_: number, __: unknown) => {}): Follower {
  return new Follower(IDENTITY, service, outlet, never, told, QUICK);
}

async function until(true_: () => boolean): Promise<void> {
  for (let left = 5_000; left > 0 && !true_(); left -= 1) await delay(2);
  assert.ok(true_());
}

const WORDS: (readonly [string, unknown])[] = [
  ["words", "a"],
  ["log", { at: 1 }],
  ["words", null],
  ["words", "d"],
  ["log", 5],
];

test("what an answer says is recorded is passed on, each stream in order", async () => {
  const [service, outlet] = [new Recorded([...WORDS]), new Noting()];
  const follows = follower(service, outlet);
  follows.heard(5);
  await follows.settled();
  assert.deepEqual(outlet.got, WORDS);
  assert.deepEqual(service.asked, [0, 2, 4]);
  assert.deepEqual(outlet.kept, [2, 4, 5]);
});

test("a later attempt of the vendor run goes on after what was passed on", async () => {
  const [service, outlet] = [new Recorded([...WORDS]), new Noting(3)];
  const follows = follower(service, outlet);
  follows.heard(3);
  await follows.settled();
  assert.deepEqual(service.asked, []);
  follows.heard(5);
  await follows.settled();
  assert.deepEqual(outlet.got, WORDS.slice(3));
});

test("while a step is at work its chunks and words are passed on", async () => {
  const [service, outlet, said] = [new Recorded(), new Noting(), [] as unknown[]];
  const follows = follower(service, outlet, (seq, told) => said.push([seq, told]));
  const ends = resolvers<string>();
  const step = follows.during(ends.promise);
  await until(() => service.asked.length > 1);
  service.chunks.push(["words", "a"]);
  [service.seq, service.told] = [4, "half"];
  await until(() => outlet.got.length === 1);
  assert.deepEqual(said.at(-1), [4, "half"]);
  assert.ok(follows.lively);
  ends.resolve("done");
  assert.equal(await step, "done");
  const asked = service.asked.length;
  await delay(30);
  assert.ok(service.asked.length <= asked + 1);
});

test("what the vendor does not take is kept, and passed on once", async () => {
  const [service, outlet] = [new Recorded([...WORDS], 5), new Noting()];
  outlet.refusals.set("log", 2);
  const follows = follower(service, outlet);
  follows.heard(5);
  await follows.settled();
  assert.deepEqual(service.asked, [0]);
  const ordered = [...WORDS.filter(([name]) => name === "words"), ...WORDS.filter(([name]) => name === "log")];
  assert.deepEqual(outlet.got, ordered);
  assert.deepEqual(outlet.kept, [5]);
});

test("a vendor that takes nothing is given up, aloud", async () => {
  const [service, outlet] = [new Recorded([...WORDS]), new Noting()];
  outlet.refusals.set("words", 1_000);
  const follows = follower(service, outlet);
  follows.heard(5);
  await follows.settled();
  assert.match(String(outlet.reasons), /no room for words/);
  follows.heard(9);
  await follows.settled();
  assert.equal(outlet.reasons.length, 1);
  assert.ok(!follows.lively);
});

test("what the vendor leaves without an answer counts as not taken", async () => {
  const outlet = new Noting();
  outlet.pass = () => new Promise(() => undefined);
  const pace = { ...QUICK, taken: 5 };
  const follows = new Follower(IDENTITY, new Recorded([...WORDS]), outlet, never, () => {}, pace);
  const alive = setInterval(() => undefined, 1_000); // As the vendor's connection would.
  follows.heard(5);
  await follows.settled();
  clearInterval(alive);
  assert.match(String(outlet.reasons), /timeout/i);
});

test("a service that does not follow is asked once", async () => {
  let asked = 0;
  const service: StepClient = {
    ask: async () => {
      asked += 1;
      throw new Error("wrong_use");
    },
  };
  const outlet = new Noting();
  const follows = follower(service, outlet);
  await follows.during(delay(50));
  await follows.during(delay(20));
  assert.equal(asked, 1);
  assert.deepEqual(outlet.reasons, []);
});

test("a service that tells less than it says it has is not asked without end", async () => {
  const service = new Recorded([], 0);
  const follows = follower(service, new Noting());
  follows.heard(3);
  await follows.settled();
  assert.equal(service.asked.length, 1);
});

test("the end of a run is held up for a while only", async () => {
  const service: StepClient = {
    ask: (_, signal) => delay(600_000, {}, { signal }),
  };
  const follows = follower(service, new Noting());
  follows.heard(1);
  await follows.settled(20);
  follows.close();
});

test("a run that fails closes its look", async () => {
  const stop = new AbortController();
  const service: StepClient = {
    ask: (_, signal) => delay(600_000, {}, { signal }),
  };
  const outlet = new Noting();
  const follows = new Follower(IDENTITY, service, outlet, stop.signal, () => {});
  follows.heard(1);
  stop.abort();
  await follows.settled();
  assert.deepEqual(outlet.reasons, []);
});

/** A vendor's run for the whole loop. */
class Run extends Noting implements Host {
  readonly tokens: string[] = [];
  readonly slept: number[] = [];
  readonly shown: Progress[] = [];

  async newToken(key: string): Promise<string> {
    this.tokens.push(key);
    return key;
  }

  async wait(): Promise<void> {}

  async sleep(ms: number): Promise<void> {
    this.slept.push(ms);
  }

  async span<T>(_: unknown, work: (ended: () => void) => Promise<T>): Promise<T> {
    return work(() => undefined);
  }

  progress(progress: Progress): void {
    this.shown.push(progress);
  }
}

function next(seq: number, chunks: number, more: Fields = {}): Fields {
  const progress = { done: 0, current: [], told: null, chunks };
  return { seq, state: "running", run: [], park: null, progress, ...more };
}

function scripted(recorded: Recorded, answers: readonly Fields[]): StepClient {
  const left = [...answers];
  return {
    ask: async (message, signal) =>
      message.op === "follow" ? recorded.ask(message, signal) : (left.shift() ?? {}),
  };
}

test("all that a run has streamed is passed on before its vendor run ends", async () => {
  const run = new Run();
  const answers = [next(1, 2, { run: [{ step: "a", attempt: 1 }] }), {
    receipt: { step: "a", attempt: 1, outcome: "completed" },
    next: next(2, 5, { state: "completed", result: { sha256: "f" } }),
  }];
  const recorded = new Recorded([...WORDS], 500);
  const last = await drive(IDENTITY, scripted(recorded, answers), run, never);
  assert.equal(last.state, "completed");
  assert.deepEqual(run.got.length, 5);
  assert.equal(run.kept.at(-1), 5);
});

test("a run whose step streams stays in the process, another takes the vendor's wait", async () => {
  const park = { park: { until: null, reasons: ["step"] } };
  for (const streams of [true, false]) {
    const run = new Run();
    const recorded = new Recorded(streams ? [...WORDS] : [], 500);
    const count = recorded.chunks.length;
    const answers = [
      next(1, count),
      next(2, count, park),
      ...(streams ? [] : [{ go: true }]),
      next(3, count, { state: "completed", result: { sha256: "f" } }),
    ];
    await drive(IDENTITY, scripted(recorded, answers), run, never);
    assert.deepEqual(run.tokens.length, streams ? 0 : 1);
    assert.equal(run.slept.includes(1_000), streams);
  }
});

test("what a look tells is shown unless an answer was later", async () => {
  const run = new Run();
  const recorded = new Recorded([["words", 1]]);
  [recorded.seq, recorded.told] = [1, "old"];
  const done = next(2, 1, { state: "completed", result: { sha256: "f" } });
  await drive(IDENTITY, scripted(recorded, [done]), run, never);
  assert.deepEqual(run.shown.map((progress) => progress.latest), [null]);
});

function resolvers<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((settles) => {
    resolve = settles;
  });
  return { promise, resolve };
}
