import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import type { TaskRunContext } from "@trigger.dev/sdk";
import { report } from "../src/turnout/reports.js";
import { definition, service, serviceUrl } from "../src/turnout/setting.js";
import { served } from "./peer.js";

const CTX = { task: { id: "work" }, run: { id: "run_1" }, attempt: { number: 1 } } as TaskRunContext;
const PAYLOAD = { run_id: "r1", delivery: 1 };
const KEY = `whsec_${Buffer.alloc(32, "k").toString("base64")}`;

afterEach(() => {
  delete process.env["TURNOUT_SIGNING_KEYS"];
  delete process.env["TURNOUT_SERVICE_URL"];
});

test("a report says which run did what, and when", async () => {
  await served(
    () => ({ status: 202 }),
    async (origin, heard) => {
      process.env["TURNOUT_SIGNING_KEYS"] = KEY;
      process.env["TURNOUT_SERVICE_URL"] = origin;
      await report("completed", PAYLOAD, CTX);
      const { op, event, run_id, at } = heard[0]?.message ?? {};
      assert.deepEqual([op, event, run_id], ["report", "completed", "r1"]);
      assert.ok(Math.abs(Number(at) - Date.now()) < 10_000);
    },
  );
});

test("a run that Turnout did not send is not reported", async () => {
  await served(
    () => ({}),
    async (origin, heard) => {
      process.env["TURNOUT_SIGNING_KEYS"] = KEY;
      process.env["TURNOUT_SERVICE_URL"] = origin;
      await report("failed", { hello: "world" }, CTX);
      assert.equal(heard.length, 0);
    },
  );
});

test("a report that cannot be made fails nothing", async () => {
  await report("completed", PAYLOAD, CTX);
});

test("the environment goes before the file, and a fresh key counts at once", () => {
  assert.equal(serviceUrl(), definition.service);
  process.env["TURNOUT_SERVICE_URL"] = "https://service.example.org";
  assert.equal(serviceUrl(), "https://service.example.org");
  assert.throws(() => service(), /TURNOUT_SIGNING_KEYS/);
  process.env["TURNOUT_SIGNING_KEYS"] = KEY;
  service();
});

test("an address that cannot be the service's is refused with the variable's name", () => {
  for (const address of ["javascript:alert(1)", "http://me:secret@x.example", "nowhere"]) {
    process.env["TURNOUT_SERVICE_URL"] = address;
    process.env["TURNOUT_SIGNING_KEYS"] = KEY;
    assert.throws(() => service(), { name: "TurnoutService", message: /TURNOUT_SERVICE_URL/ });
  }
});
