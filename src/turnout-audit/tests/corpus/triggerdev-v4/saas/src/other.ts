import { save } from "db";

const metadata = { stream: async (key: string) => key, save: (row: unknown) => save(row) };

export async function other(ctx: { attempt: { id: string }; task: { exportName: string } }) {
  await metadata.stream("openai");
  await metadata.save({ id: ctx.attempt.id });
  return ctx.task.exportName;
}

export const options = {
  onStart: (payload: string, { ctx }: { ctx: number }) => `${payload}${ctx}`,
  handleError: (error: Error) => error.message,
  machine: { cpu: 1, memory: 2 },
  maxDuration: 3,
};

export const help = "https://trigger.dev/docs/sdk/v3";
// import { task } from "@trigger.dev/sdk/v3";
