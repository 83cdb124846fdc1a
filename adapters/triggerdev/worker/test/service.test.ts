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
      assert.deepEqual(await new Service(origin, KEYS).say(MESSAGE, never), { ok: true });
      assert.equal(new Set(heard.map(({ body }) => body)).size, 1);
      assert.equal(new Set(heard.map(({ headers }) => headers["webhook-id"])).size, 3);
    });
  });
}

test("a service that is away gets the same message until it is back", async () => {
  await served(inTurn(), async (origin, heard) => {
    const away = new Service("http://127.0.0.1:1", KEYS);
    const giveUp = AbortSignal.timeout(300);
    await assert.rejects(away.say(MESSAGE, giveUp), { name: /Abort|Timeout/ });
    await new Service(`${origin}/`, KEYS).say(MESSAGE, never);
    assert.equal(heard.length, 1);
  });
});

test("409 ends the run quietly, with the service's word for it", async () => {
  const reply = { status: 409, body: { code: "superseded", message: "another delivery" } };
  await served(inTurn(reply), async (origin) => {
    await assert.rejects(
      new Service(origin, KEYS).say(MESSAGE, never),
      (error: unknown) => error instanceof EndQuietly && error.code === "superseded",
    );
  });
});

for (const status of [400, 401, 404, 426]) {
  test(`${status} is final for this vendor attempt`, async () => {
    const reply = { status, body: { code: "why", message: "said so" } };
    await served(inTurn(reply), async (origin, heard) => {
      await assert.rejects(
        new Service(origin, KEYS).say(MESSAGE, never),
        (error: unknown) => error instanceof ServiceRefused && error.message === "why: said so",
      );
      assert.equal(heard.length, 1);
    });
  });
}

test("a defect of the service is tried again", async () => {
  await served(inTurn({ status: 500 }, { status: 502 }), async (origin, heard) => {
    await new Service(origin, KEYS).say(MESSAGE, never);
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
      await assert.rejects(new Service(origin, KEYS).say(MESSAGE, stop.signal));
      await heard[0]?.hungUp;
    },
  );
});

test("a signed message follows no redirect", async () => {
  const reply = { status: 307, body: {} };
  await served(
    inTurn(...Array.from({ length: 50 }, () => reply)),
    async (origin) => {
      const giveUp = AbortSignal.timeout(300);
      await assert.rejects(new Service(origin, KEYS).say(MESSAGE, giveUp));
    },
  );
});

test("a message that is too large is not sent", async () => {
  await served(inTurn(), async (origin, heard) => {
    const large = { ...MESSAGE, definition: "x".repeat(1024 * 1024) };
    await assert.rejects(new Service(origin, KEYS).say(large, never), ServiceRefused);
    assert.equal(heard.length, 0);
  });
});
