import { logger, task } from "@trigger.dev/sdk";

export const context = task({
  id: "context",
  queue: { concurrencyLimit: 5 },
  maxDuration: 2,
  run: async (payload: string, { ctx }) => {
    logger.info(`attempt ${ctx.attempt.id}`);
    if (ctx.attempt.status === "EXECUTING") logger.info("on");
    logger.info(ctx.task.exportName ?? "");
    logger.info(ctx.task.id, { attempt: ctx.attempt.number });
    return "ctx.attempt.id";
  },
});
