import assert from "node:assert/strict";
import { test } from "node:test";
import { probe } from "../src/turnout/probe.js";
import { Service } from "../src/turnout/service.js";
import { served } from "./peer.js";

const KEYS = [Buffer.alloc(32, "k")];
const never = new AbortController().signal;

test("a service that answers is told with its way and its clock", async () => {
  await served(
    () => ({ body: { at: Date.now() + 3_000 } }),
    async (origin, heard) => {
      const seen = await probe(new Service(origin, KEYS), origin, "d", never);
      assert.equal(seen.status, 200);
      assert.ok(Math.abs((seen.clock_ms ?? 0) - 3_000) < 500);
      assert.ok((seen.latency_ms ?? -1) >= 0);
      assert.equal(heard.length, 5);
    },
  );
});

test("a refusal is told as it is", async () => {
  const reply = { status: 401, body: { code: "unauthorised", message: "the signature is wrong" } };
  await served(
    () => reply,
    async (origin) => {
      const seen = await probe(new Service(origin, KEYS), origin, "d", never);
      assert.deepEqual([seen.status, seen.message], [401, "the signature is wrong"]);
    },
  );
});

test("a service that cannot be reached is told with the reason", async () => {
  const url = "http://127.0.0.1:1";
  const seen = await probe(new Service(url, KEYS), url, "d", never);
  assert.deepEqual([seen.status, seen.code], [null, "unreachable"]);
  assert.notEqual(seen.message, "");
});
