import { schedules } from "@trigger.dev/sdk/v3";

export const nightly = schedules.task({
  id: "nightly",
  cron: "0 2 * * *",
  onFailure: async (payload, error, { ctx }) => {
    console.error(payload.timestamp, error, ctx.run.id);
  },
  run: async (payload) => payload.timestamp.toISOString(),
});

export const exact = schedules.task({
  id: "exact",
  cron: { pattern: "0 3 * * *", window: "0m" },
  run: async () => 1,
});

export async function forUser(user: string): Promise<string> {
  const made = await schedules.create({
    task: "nightly",
    cron: "0 9 * * *",
    deduplicationKey: user,
  });
  return made.id;
}
