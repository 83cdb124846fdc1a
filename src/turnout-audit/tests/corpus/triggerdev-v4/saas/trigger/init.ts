import { logger, tasks } from "@trigger.dev/sdk/v3";

tasks.onStart(async (payload, { ctx }) => {
  logger.info(ctx.run.id, { payload });
});

tasks.onSuccess(async (payload, output, { ctx }) => {
  logger.info(ctx.run.id, { payload, output });
});

tasks.handleError(async ({ error }) => {
  logger.info("failed", { error });
});
