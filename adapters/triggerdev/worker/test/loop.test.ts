import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { test } from "node:test";
import type { Fields } from "../src/turnout/json.js";
import { drive, type Host, type StepClient } from "../src/turnout/loop.js";
import type { Identity, Message } from "../src/turnout/messages.js";

const IDENTITY: Identity = {
  task: "work",
  definition: "d",
  run_id: "r1",
  delivery: 2,
  provider_run_id: "run_1",
  provider_attempt: 1,
};

type Said = Readonly<Record<string, unknown>>;

function next(seq: number, more: Said = {}): Fields {
  return { seq, state: "running", run: [], park: null, progress: { done: 0, current: [] }, ...more };
}

function starting(...steps: readonly string[]): Said {
  return { run: steps.map((step) => ({ step, attempt: 1, label: `${step} #1` })) };
}

function parked(reason: string, ms?: number): Said {
  return { park: { until: ms === undefined ? null : Date.now() + ms, reasons: [reason] } };
}

function executed(step: string, then: Fields, outcome = "completed"): Fields {
  return { receipt: { step, attempt: 1, outcome }, next: then };
}

const DONE = next(99, { state: "completed", result: { sha256: "f" } });

/** A service that answers by script, and remembers what it was told. */
class Scripted implements StepClient {
  readonly heard: string[] = [];
  readonly messages: Message[] = [];
  constructor(private readonly answer: (message: Message, at: number) => Fields | Promise<Fields>) {}

  async ask(message: Message, signal: AbortSignal): Promise<Fields> {
    signal.throwIfAborted();
    this.messages.push(message);
    this.heard.push("step" in message ? `${message.op} ${message.step}` : message.op);
    return this.answer(message, this.heard.length);
  }
}

/** A vendor's run that only notes what is asked of it. */
class Noting implements Host {
  readonly tokens: string[] = [];
  readonly untils: number[] = [];
  readonly slept: number[] = [];
  readonly spans: string[] = [];
  waiting = 0;

  async newToken(key: string, until: Date): Promise<string> {
    this.tokens.push(key);
    this.untils.push(until.getTime());
    return `token ${this.tokens.length}`;
  }

  async wait(): Promise<void> {
    this.waiting += 1;
  }

  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    this.slept.push(ms);
    await delay(1, undefined, { signal });
  }

  async span<T>(
    start: { step: string },
    work: (ended: (receipt: { outcome: string }) => void) => Promise<T>,
  ): Promise<T> {
    return work(({ outcome }) => this.spans.push(`${start.step} ${outcome}`));
  }

  progress(): void {}

  passed(): number {
    return 0;
  }

  async pass(): Promise<void> {}

  async remember(): Promise<void> {}

  givenUp(): void {}
}

const never = new AbortController().signal;

test("every message carries who speaks", async () => {
  const service = new Scripted((message) => (message.op === "advance" ? DONE : {}));
  const last = await drive(IDENTITY, service, new Noting(), never);
  assert.equal(last.sha256, "f");
  assert.deepEqual(service.messages, [{ protocol: 1, ...IDENTITY, op: "advance" }]);
});

test("steps of one answer run at once, each with a span of its outcome", async () => {
  let open = 0;
  let most = 0;
  const host = new Noting();
  const service = new Scripted(async (message, at) => {
    if (message.op !== "execute") return next(1, starting("a", "b", "c"));
    most = Math.max(most, ++open);
    await delay(20);
    open -= 1;
    return executed(message.step, at >= 4 && open === 0 ? DONE : next(1 + at, starting("c")));
  });
  await drive(IDENTITY, service, host, never);
  assert.equal(most, 3);
  assert.deepEqual(host.spans, ["a completed", "b completed", "c completed"]);
});

test("an older answer changes nothing", async () => {
  const service = new Scripted(async (message) => {
    if (message.op !== "execute") return next(1, starting("slow", "quick"));
    if (message.step === "quick") return executed("quick", next(7, starting("slow")));
    if (message.step === "slow") {
      await delay(20);
      return executed("slow", next(3, starting("quick")));
    }
    return {};
  });
  let advances = 0;
  const answered: StepClient = {
    ask: (message, signal) =>
      message.op === "advance" && ++advances > 1
        ? Promise.resolve(DONE)
        : service.ask(message, signal),
  };
  await drive(IDENTITY, answered, new Noting(), never);
  assert.deepEqual(service.heard, ["advance", "execute slow", "execute quick"]);
});

test("a short sleep stays in process, a longer one takes a token until its time", async () => {
  const host = new Noting();
  const answers = [next(1, parked("sleep", 3_000)), next(2, parked("sleep", 60_000)), { go: true }];
  const service = new Scripted((_, at) => answers[at - 1] ?? DONE);
  await drive(IDENTITY, service, host, never);
  assert.deepEqual(service.heard, ["advance", "advance", "park", "advance"]);
  assert.equal(host.slept.length, 1);
  assert.deepEqual(host.tokens, ["r1.2.2"]);
  assert.ok((host.untils[0] ?? 0) - Date.now() > 50_000);
});

test("a wait for an event takes a token even when its time is near", async () => {
  const host = new Noting();
  const answers = [next(5, parked("event", 1_000)), { go: true }];
  const service = new Scripted((_, at) => answers[at - 1] ?? DONE);
  await drive(IDENTITY, service, host, never);
  assert.equal(host.waiting, 1);
  assert.deepEqual(service.messages[1], {
    protocol: 1,
    ...IDENTITY,
    op: "park",
    seq: 5,
    token: "token 1",
  });
});

test("a wait without an end is given up after a day, and looked at again", async () => {
  const host = new Noting();
  const answers = [next(5, parked("event")), { go: true }];
  const service = new Scripted((_, at) => answers[at - 1] ?? DONE);
  await drive(IDENTITY, service, host, never);
  assert.ok(Math.abs((host.untils[0] ?? 0) - Date.now() - 86_400_000) < 10_000);
});

test("news that comes before the wait is followed instead of it", async () => {
  const host = new Noting();
  const answers = [next(5, parked("event")), { go: false, next: DONE }];
  await drive(IDENTITY, new Scripted((_, at) => answers[at - 1] ?? {}), host, never);
  assert.equal(host.waiting, 0);
});

test("a wake without news leads to another token, never to one that is used up", async () => {
  const host = new Noting();
  const park = next(5, parked("event"));
  const answers = [park, { go: true }, park, { go: true }];
  await drive(IDENTITY, new Scripted((_, at) => answers[at - 1] ?? DONE), host, never);
  assert.deepEqual(host.tokens, ["r1.2.5", "r1.2.5.1"]);
});

test("a park beside calls in flight is a timer, never the vendor's wait", async () => {
  const host = new Noting();
  const both = next(1, { ...starting("slow"), ...parked("sleep", 60_000) });
  const service = new Scripted(async (message, at) => {
    if (message.op !== "execute") return at === 1 ? both : next(2, parked("sleep", 60_000));
    await delay(30);
    return executed("slow", DONE);
  });
  await drive(IDENTITY, service, host, never);
  assert.deepEqual(host.tokens, []);
  assert.ok(service.heard.filter((op) => op === "advance").length > 1);
});

test("when one call ends the run, the others are closed", async () => {
  const closed: string[] = [];
  const service: StepClient = {
    async ask(message, signal) {
      if (message.op !== "execute") return next(1, starting("ends", "hangs"));
      if (message.step === "ends") throw new Error("superseded");
      signal.addEventListener("abort", () => closed.push(message.step));
      await delay(60_000, undefined, { signal });
      return {};
    },
  };
  await assert.rejects(drive(IDENTITY, service, new Noting(), never), /superseded/);
  assert.deepEqual(closed, ["hangs"]);
});

test("an abort of the run ends the loop", async () => {
  const stop = new AbortController();
  const service: StepClient = {
    async ask(message, signal) {
      if (message.op !== "execute") return next(1, starting("a"));
      stop.abort();
      await delay(60_000, undefined, { signal });
      return {};
    },
  };
  await assert.rejects(drive(IDENTITY, service, new Noting(), stop.signal), { name: "AbortError" });
});

test("an answer that is not of the protocol is refused with the field's name", async () => {
  for (const answer of [{}, { seq: 1 }, next(1, { state: "dancing" }), next(1, { run: [{}] })]) {
    const service = new Scripted(() => answer);
    await assert.rejects(drive(IDENTITY, service, new Noting(), never), /next|state/);
  }
});

test("a clock that is ahead of the service's asks seldom, and ever more seldom", async () => {
  const host = new Noting();
  const past = Date.now() - 10_000;
  const waiting = next(1, { park: { until: past, reasons: ["sleep"] } });
  const service = new Scripted((_, at) => (at <= 12 ? waiting : DONE));
  await drive(IDENTITY, service, host, never);
  assert.deepEqual(host.slept, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2000, 2000, 2000]);
});

test("another wait begins with the shortest pause again", async () => {
  const host = new Noting();
  const past = (seq: number) => next(seq, { park: { until: 1, reasons: ["backoff"] } });
  const answers = [past(1), past(1), past(2)];
  await drive(IDENTITY, new Scripted((_, at) => answers[at - 1] ?? DONE), host, never);
  assert.deepEqual(host.slept, [5, 10, 5]);
});

test("tokens that end at once are asked for ever more seldom", async () => {
  const host = new Noting();
  const park = next(5, { park: { until: 1, reasons: ["event"] } });
  const service = new Scripted((message, at) =>
    message.op === "park" ? { go: true } : at < 8 ? park : DONE,
  );
  await drive(IDENTITY, service, host, never);
  assert.deepEqual(host.slept, [10, 20, 40]);
});

test("a timer beside calls in flight asks ever more seldom too", async () => {
  const host = new Noting();
  const both = next(1, { ...starting("slow"), park: { until: 1, reasons: ["sleep"] } });
  const service = new Scripted(async (message) => {
    if (message.op !== "execute") return both;
    await delay(30);
    return executed("slow", DONE);
  });
  await drive(IDENTITY, service, host, never);
  assert.deepEqual(host.slept.slice(0, 3), [50, 100, 200]);
});
