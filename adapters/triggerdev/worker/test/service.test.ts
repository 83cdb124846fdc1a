import assert from "node:assert/strict";
import { test } from "node:test";
import { PROTOCOL, type Probe } from "../src/turnout/messages.js";
import { EndQuietly, Service, ServiceRefused } from "../src/turnout/service.js";
import { type Reply, served } from "./peer.js";

const KEYS = [Buffer.alloc(32, "k")];
const MESSAGE: Probe = { protocol: PROTOCOL, op: "probe", definition: "d" };
const never = new AbortController().signal;

/** Answers with each of these in turn, then with 200. */
function inTurn(...replies: readonly Reply[]): (heard: unknown, at: number) => Reply {
  return (_, at) => replies[at - 1] ?? { body: { ok: true } };
}

for (const status of [429, 503]) {
  test(`${status} gets the same message again, freshly signed`, async () => {
    const busy = { status, body: { code: "busy", message: "later", retry_after_ms: 5 } };
    await served(inTurn(busy, busy), async (origin, heard) => {
      assert.deepEqual(await new Service(origin, KEYS).ask(MESSAGE, never), { ok: true });
      assert.equal(new Set(heard.map(({ body }) => body)).size, 1);
      assert.equal(new Set(heard.map(({ headers }) => headers["webhook-id"])).size, 3);
    });
  });
}

test("a service that is away gets the same message until it is back", async () => {
  await served(inTurn(), async (origin, heard) => {
    const away = new Service("http://127.0.0.1:1", KEYS);
    const giveUp = AbortSignal.timeout(300);
    await assert.rejects(away.ask(MESSAGE, giveUp), { name: /Abort|Timeout/ });
    await new Service(`${origin}/`, KEYS).ask(MESSAGE, never);
    assert.equal(heard.length, 1);
  });
});

test("409 ends the run quietly, with the service's word for it", async () => {
  const reply = { status: 409, body: { code: "superseded", message: "another delivery" } };
  await served(inTurn(reply), async (origin) => {
    await assert.rejects(
      new Service(origin, KEYS).ask(MESSAGE, never),
      (error: unknown) => error instanceof EndQuietly && error.code === "superseded",
    );
  });
});

for (const status of [400, 401, 404, 426]) {
  test(`${status} is final for this vendor attempt`, async () => {
    const reply = { status, body: { code: "why", message: "said so" } };
    await served(inTurn(reply), async (origin, heard) => {
      await assert.rejects(
        new Service(origin, KEYS).ask(MESSAGE, never),
        (error: unknown) => error instanceof ServiceRefused && error.message === "why: said so",
      );
      assert.equal(heard.length, 1);
    });
  });
}

test("a defect of the service is tried again", async () => {
  await served(inTurn({ status: 500 }, { status: 502 }), async (origin, heard) => {
    await new Service(origin, KEYS).ask(MESSAGE, never);
    assert.equal(heard.length, 3);
  });
});

test("a hint is said once, and nobody minds when it is not heard", async () => {
  await new Service("http://127.0.0.1:1", KEYS).hint(MESSAGE);
  await served(inTurn({ status: 500 }), async (origin, heard) => {
    await new Service(origin, KEYS).hint(MESSAGE);
    assert.equal(heard.length, 1);
  });
});

test("an abort closes the call that is under way", async () => {
  const stop = new AbortController();
  await served(
    async ({ hungUp }) => {
      stop.abort();
      await hungUp;
      return {};
    },
    async (origin, heard) => {
      await assert.rejects(new Service(origin, KEYS).ask(MESSAGE, stop.signal));
      await heard[0]?.hungUp;
    },
  );
});

for (const status of [301, 302, 307, 308]) {
  test(`a signed message follows no redirect: ${status} is final, and says what to set`, async () => {
    await served(inTurn({ status }), async (origin, heard) => {
      await assert.rejects(
        new Service(origin, KEYS).ask(MESSAGE, never),
        (error: unknown) =>
          error instanceof ServiceRefused && error.message.includes("TURNOUT_SERVICE_URL"),
      );
      assert.equal(heard.length, 1);
    });
  });
}

for (const [address, said] of [
  ["javascript:alert(1)", "http: or https:"],
  ["service.example.org", "not a URL"],
  ["http://", "not a URL"],
  ["https://me:secret@service.example.org", "password"],
  ["https://service.example.org/?token=secret", "query"],
  ["https://service.example.org/#top", "fragment"],
] as const) {
  test(`${address} is refused before anything is sent, without its secret`, () => {
    assert.throws(
      () => new Service(address, KEYS),
      (error: unknown) =>
        error instanceof ServiceRefused &&
        error.message.includes(said) &&
        !error.message.includes("secret"),
    );
  });
}

test("a service that cannot be reached is told once for each call, with the reason", async () => {
  const said: string[] = [];
  const away = new Service("http://127.0.0.1:1", KEYS, (message, { reason }) => {
    said.push(`${message}: ${reason}`);
  });
  for (const _ of [1, 2]) {
    await assert.rejects(away.ask(MESSAGE, AbortSignal.timeout(400)), { name: /Abort|Timeout/ });
  }
  assert.equal(said.length, 2);
  assert.match(said[0] ?? "", /does not answer.*Error: \S+/);
});

test("a service that is only busy for a moment is not worth a word", async () => {
  const said: string[] = [];
  await served(inTurn({ status: 503 }), async (origin) => {
    await new Service(origin, KEYS, (message) => said.push(message)).ask(MESSAGE, never);
  });
  assert.deepEqual(said, []);
});

for (const asked of [0, -5, Number.NaN, "1"]) {
  test(`a service that asks to wait ${asked} ms gets our own growing pause`, async () => {
    const busy = { status: 503, body: { code: "busy", retry_after_ms: asked } };
    const began = performance.now();
    await served(inTurn(busy, busy, busy), async (origin) => {
      await new Service(origin, KEYS).ask(MESSAGE, never);
    });
    assert.ok(performance.now() - began >= 50 + 100 + 200 - 10);
  });
}

test("a message that is too large is not sent", async () => {
  await served(inTurn(), async (origin, heard) => {
    const large = { ...MESSAGE, definition: "x".repeat(1024 * 1024) };
    await assert.rejects(new Service(origin, KEYS).ask(large, never), ServiceRefused);
    assert.equal(heard.length, 0);
  });
});
