import { logger, metadata, task } from "@trigger.dev/sdk/v3";
import { save } from "db";

interface Mail {
  to: string;
  subject: string;
}

// onSuccess: (payload, output, { ctx }) is the old form
export const mail = task({
  id: "mail",
  machine: { cpu: 1, memory: 2 },
  retry: { maxAttempts: 3 },
  run: async (payload: Mail, { ctx }) => {
    metadata.save({ run: ctx.run.id });
    metadata.set("stream", payload.subject);
    return { sent: payload.to.length > 0 };
  },
  onStart: async (payload, { ctx }) => {
    logger.info(`starting ${payload.subject}`, { run: ctx.run.id });
  },
  onSuccess: async (payload, output, { ctx }) => {
    await save({ to: payload.to, sent: output.sent, run: ctx.run.id });
  },
  async onFailure(payload, error, { ctx }) {
    await save({ to: payload.to, error, run: ctx.run.id });
  },
  handleError: async (_payload, error, { ctx }) => {
    if (ctx.attempt.number > 2) return { skipRetrying: true };
    logger.info("again", { error });
  },
});
