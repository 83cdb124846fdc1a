const { schedules, tasks: jobs, task, wait } = require("@trigger.dev/sdk/v3");

exports.nightly = schedules.task({
  id: "nightly",
  cron: process.env.CRON,
  run: async () => {
    const children = ["a", "b"];
    const handles = await jobs.batchTrigger("child", children.map((id) => ({ payload: { id } })));
    return handles.runs.length;
  },
});

exports.child = task({
  id: "child",
  machine: { cpu: 0.5, memory: 0.5 },
  run: async (payload) => {
    for (const pause of [10, 20]) {
      await wait.for({ seconds: pause });
    }
    await Promise.all(payload.ids.map(async (id) => {
      await wait.until({ date: new Date(id) });
    }));
  },
});
