import assert from "node:assert/strict";
import { test } from "node:test";
import { readDefinition } from "../src/turnout/definition.js";

const GOOD = {
  protocol: 1,
  definition: "a".repeat(64),
  service: "https://service.example.org",
  tasks: [
    { id: "one", queue: "q", concurrency: { perKey: 1 }, maxAttempts: 2, maxDuration: 60, ttl: 0 },
    { id: "tick", schedule: true, ttl: "10m" },
  ],
};

test("a good definition is read, and a task without a queue gets one of its own", () => {
  const { digest, tasks } = readDefinition(GOOD);
  assert.equal(digest, GOOD.definition);
  assert.deepEqual(tasks[0], { ...GOOD.tasks[0], schedule: false, probe: false });
  assert.equal(tasks[1]?.queue, "turnout/tick");
  assert.equal(tasks[1]?.schedule, true);
});

test("a task's id may have characters that a queue's name may not", () => {
  const [task] = readDefinition({ ...GOOD, tasks: [{ id: `a.b c${"x".repeat(200)}` }] }).tasks;
  assert.match(task?.queue ?? "", /^turnout\/a-b-cx+$/);
  assert.equal(task?.queue.length, 128);
});

test("a service's address holds no password", () => {
  const service = "https://me:secret@service.example.org";
  assert.throws(() => readDefinition({ ...GOOD, service }), /^Unreadable: service: .*password/);
});

test("a wrong definition is refused with the field's name", () => {
  const wrong: Readonly<Record<string, unknown>> = {
    protocol: { ...GOOD, protocol: 2 },
    definition: { ...GOOD, definition: "abc" },
    service: { ...GOOD, service: "ftp://x" },
    tasks: { ...GOOD, tasks: {} },
    "tasks[0].id": { ...GOOD, tasks: [{}] },
    "tasks[0].queue": { ...GOOD, tasks: [{ id: "a", queue: "no spaces" }] },
    "tasks[0].maxDuration": { ...GOOD, tasks: [{ id: "a", maxDuration: "1h" }] },
    "tasks: two": { ...GOOD, tasks: [{ id: "a" }, { id: "a" }] },
    "definition file": [],
  };
  for (const [field, value] of Object.entries(wrong)) {
    assert.throws(
      () => readDefinition(value),
      (error: Error) => error.message.startsWith(field),
      field,
    );
  }
});
