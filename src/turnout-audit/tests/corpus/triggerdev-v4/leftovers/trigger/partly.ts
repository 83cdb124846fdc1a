import { task } from "@trigger.dev/sdk";

export const partly = task({
  id: "partly",
  onFailure: async (payload: { id: string }, error, { ctx }) => {
    console.error(payload.id, error, ctx.run.id);
  },
  run: async (payload: { id: string }) => payload.id,
});
