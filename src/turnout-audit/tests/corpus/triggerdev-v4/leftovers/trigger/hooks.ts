import { task, tasks, locals } from "@trigger.dev/sdk";
import { connect, type Db } from "./db";
import { log } from "./log";

export const withInit = task({
  id: "with-init",
  init: async () => ({ db: await connect() }),
  cleanup: async (payload, { init }) => init?.db.close(),
  run: async (payload: string, { ctx, init }) => init?.db.get(payload),
});

export const elsewhere = task({
  id: "elsewhere",
  onStart: log,
  onFailure: async (payload, error, params) => log(error, params),
  onSuccess: async (payload, output = 1, { ctx }) => log(output, ctx),
  run: async () => 1,
});

const db = locals.create<Db>("db");
tasks.middleware("db", async ({ ctx, next }) => {
  locals.set(db, await connect());
  await next();
});

export const fine = task({
  id: "fine",
  onStartAttempt: async ({ ctx }) => log(ctx.attempt.number),
  catchError: async ({ error }) => log(error),
  run: async () => {
    const handleError = (e: unknown) => log(e);
    handleError(1);
  },
});
