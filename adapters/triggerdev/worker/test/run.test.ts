import assert from "node:assert/strict";
import { test } from "node:test";
import type { TaskRunContext } from "@trigger.dev/sdk";
import type { Fields } from "../src/turnout/json.js";
import type { Host } from "../src/turnout/loop.js";
import { identityOf, identityOrFail, RunFailed, work } from "../src/turnout/run.js";
import { EndQuietly } from "../src/turnout/service.js";

const CTX = {
  task: { id: "work" },
  run: { id: "run_1" },
  attempt: { number: 3 },
} as TaskRunContext;
const PAYLOAD = { run_id: "r1", delivery: 2, task: "work", protocol: 1 };
const IDENTITY = identityOf(PAYLOAD, CTX, "d");
const never = new AbortController().signal;
const host = { progress: () => undefined, passed: () => 0 } as unknown as Host;

function ending(state: string, more: Fields = {}): { ask: () => Promise<Fields> } {
  return { ask: async () => ({ seq: 1, state, progress: { done: 0, current: [] }, ...more }) };
}

test("a delivery's payload and the vendor's run say who this attempt is", () => {
  assert.deepEqual(IDENTITY, {
    task: "work",
    definition: "d",
    run_id: "r1",
    delivery: 2,
    provider_run_id: "run_1",
    provider_attempt: 3,
  });
});

test("a run that Turnout did not send fails by name, and is not tried again", () => {
  for (const payload of [undefined, null, [], "text", {}, { ...PAYLOAD, delivery: "2" }]) {
    assert.throws(
      () => identityOrFail(payload, CTX, "d"),
      (error: unknown) => error instanceof RunFailed && error.name === "InvalidPayload",
    );
  }
});

test("a completed run answers with its digest: the result stays with the service", async () => {
  const output = await work(IDENTITY, ending("completed", { result: { sha256: "f" } }), host, never);
  assert.deepEqual(output, { turnout: 1, run_id: "r1", sha256: "f" });
});

test("a cancelled or superseded run ends quietly", async () => {
  const ended = { turnout: 1, run_id: "r1", ended: "cancelled" };
  assert.deepEqual(await work(IDENTITY, ending("cancelled"), host, never), ended);
  const superseded = { ask: () => Promise.reject(new EndQuietly("superseded")) };
  const output = await work(IDENTITY, superseded, host, never);
  assert.deepEqual(output, { ...ended, ended: "superseded" });
});

for (const state of ["failed", "timed_out"]) {
  test(`a run that ${state} at the service fails with the error's own name`, async () => {
    const error = { name: "StepFailed", message: "load broke" };
    await assert.rejects(
      work(IDENTITY, ending(state, { error }), host, never),
      (caught: unknown) =>
        caught instanceof RunFailed && caught.name === "StepFailed" && caught.message === "load broke",
    );
  });
}
