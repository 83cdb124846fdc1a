// Functions of the vendor's TypeScript SDK, one for each thing that a step can be.
import { Inngest, NonRetriableError, RetryAfterError, fetch as durableFetch } from "inngest";
import { createServer } from "inngest/node";

const { BASE, PORT } = process.env;
const silent = () => {};
const logger = { info: silent, warn: silent, error: silent, debug: silent };
const client = new Inngest({ id: "ts", baseUrl: BASE, isDev: true, logger });

const fn = (id, handler, options) =>
  client.createFunction({ id, triggers: [{ event: `ts/${id}` }], retries: 0, ...options }, handler);

const child = fn("child", ({ event, step }) => step.run("echo", () => event.data.n + 1));
const functions = [
  child,
  fn("steps", async ({ step }) => {
    let sum = 0;
    for (const n of [1, 2, 3]) sum += await step.run(`add-${n}`, () => n);
    return sum;
  }),
  fn("parallel", ({ step }) =>
    Promise.all([step.run("x", () => 1), step.sleep("z", "1s"), step.run("y", () => 2)])),
  fn("sleeps", async ({ step }) => {
    await step.sleep("length", "1s");
    await step.sleepUntil("moment", new Date(Date.now() + 1_000));
    return "awake";
  }),
  fn("waits", async ({ step }) => {
    const met = await step.waitForEvent("go", { event: "ts/go", timeout: "1m", match: "data.id" });
    const late = await step.waitForEvent("never", { event: "ts/never", timeout: "1s" });
    return [met.data.by, late];
  }),
  fn("signalled", ({ step }) => step.waitForSignal("sign", { signal: "s1", timeout: "1m" })),
  fn("signals", ({ step }) => step.sendSignal("send", { signal: "s1", data: { ok: 1 } })),
  fn("unheard", ({ step }) => step.sendSignal("send", { signal: "nobody", data: 1 })),
  fn("unsignalled", ({ step }) => step.waitForSignal("sign", { signal: "s2", timeout: "1s" })),
  fn("invokes", ({ step }) => step.invoke("child", { function: child, data: { n: 1 } })),
  fn("sends", async ({ step }) => (await step.sendEvent("one", { name: "ts/none" })).ids.length),
  fn("catches", ({ step }) =>
    step.run("bad", () => { throw new NonRetriableError("no"); }).catch((error) => error.message)),
  fn("retries", ({ step, attempt }) =>
    step.run("second", () => {
      if (attempt === 0) throw new RetryAfterError("again", "1s");
      return attempt;
    }), { retries: 1 }),
  fn("throws", () => { throw new Error("boom"); }),
  fn("fetches", async () => (await durableFetch(`${BASE}/health`)).json()),
  fn("publishes", async () => {
    const answer = await globalThis.fetch(`${BASE}/v1/realtime/publish`, { method: "POST" });
    return [answer.status, (await answer.json()).error];
  }),
  fn("batched", ({ events }) => events.length, { batchEvents: { maxSize: 2, timeout: "9s" } }),
];

createServer({ client, functions }).listen(Number(PORT), () => console.log("listening"));
