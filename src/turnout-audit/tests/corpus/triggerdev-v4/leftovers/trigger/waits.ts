import { batch, queue, queues, runs, schedules, task, tasks, wait } from "@trigger.dev/sdk";
import { child, other } from "./children";

const limited = queue({ name: "limited", concurrencyLimit: 3 });

export const parent = task({
  id: "parent",
  queue: limited,
  run: async (payload: { ids: string[] }) => {
    const [a, b] = await Promise.all([
      child.triggerAndWait({ id: "a" }),
      other.triggerAndWait({ id: "b" }),
    ]);
    await Promise.allSettled(payload.ids.map((id) => child.triggerAndWait({ id })));
    await Promise.race([wait.for({ seconds: 90 }), work()]);

    const result = await child.triggerAndWait({ id: "c" });
    console.log(result.url);
    const { url } = await child.triggerAndWait({ id: "d" });
    const good = await child.triggerAndWait({ id: "e" });
    if (good.ok) console.log(good.output.url);
    const out = await child.triggerAndWait({ id: "f" }).unwrap();
    console.log(out.url);
    const { ok, output } = await child.triggerAndWait({ id: "g" });

    const handle = await child.batchTrigger([{ payload: { id: "h" } }]);
    console.log(handle.runs.length);
    console.log((await batch.retrieve(handle.batchId)).runs.length);
    const all = await child.batchTriggerAndWait([{ payload: { id: "i" } }]);
    for (const run of all.runs) console.log(run.ok);
    await Promise.all([child.trigger({ id: "j" }), other.trigger({ id: "k" })]);
    return { a, b, url, ok, output };
  },
});

export const poller = task({
  id: "poller",
  run: async (payload: { user: string }) => {
    let done = false;
    while (!done) {
      done = await work();
      await wait.for({ seconds: 15 });
    }
    for (let i = 0; i < 3; i++) {
      await wait.for({ minutes: 2 });
      const page = await runs.list({ taskIdentifier: "child" });
      console.log(page.data.length);
    }
    setInterval(async () => {
      await runs.list();
    }, 1000);
    await wait.for({ seconds: 15 });
    await runs.list({ limit: 1 });
    await queues.overrideConcurrencyLimit("limited", 9);
    await tasks.trigger("child", {}, { queue: `user-${payload.user}` });
    await child.trigger({ id: "l" }, { queue: { name: payload.user, concurrencyLimit: 1 } });
    await child.trigger({ id: "m" }, { queue: "limited", concurrencyKey: payload.user });
  },
});

export const hourly = schedules.task({
  id: "hourly",
  cron: { pattern: "0 * * * *", timezone: "Europe/Kyiv" },
  run: async () => 1,
});

const work = async () => true;
