import { task, tasks } from "@trigger.dev/sdk";
import { useForm } from "react-hook-form";
import { save, report } from "./store";

tasks.onStartAttempt(async (payload) => {
  console.log(payload.id);
});
tasks.onFailure("report", async ({ error, ctx }) => report(error, ctx.run.id));

export const first = task({
  id: "first",
  onStart: async (payload: { id: string }) => {
    await save(payload);
  },
  onSuccess: async (input) => {
    await save(input);
  },
  onComplete: async (params) => save(params.payload),
  onCancel: async () => {},
  onFailure: async ({ id }) => report(id),
  run: async (payload: { id: string }) => {
    const handle = await second.batchTrigger([{ payload }]);
    return handle.runs.length;
  },
});

export const second = task({ id: "second", run: async (payload: unknown) => payload });

const form = useForm();
form.trigger("name", { queue: { name: "fields" } });
