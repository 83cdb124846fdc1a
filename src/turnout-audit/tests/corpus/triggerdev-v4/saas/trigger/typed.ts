import { task, type Context } from "@trigger.dev/sdk/v3";

export interface Job {
  id: string;
}

export const typed = task({
  id: "typed",
  machine: { preset: "large-1x" },
  onSuccess: async (payload: Job, output: { done: boolean }, { ctx }: { ctx: Context }) => {
    console.log(payload.id, output.done, ctx.task.id);
  },
  run: async (payload: Job) => ({ done: payload.id !== "" }),
  onFailure: async (p: Job, e, { ctx }) => {
    console.error(p.id, e, ctx.attempt.number);
  },
});
