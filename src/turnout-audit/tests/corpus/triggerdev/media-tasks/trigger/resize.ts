import { logger, queue, schedules, task } from "@trigger.dev/sdk";

const images = queue({ name: "images" });

export const resize = task({
  id: "resize",
  queue: images,
  run: async (payload: { path: string }) => {
    logger.info(`trigger.dev resizes ${payload.path}`);
    return { path: payload.path.replace(".png", ".small.png") };
  },
});

export const nightly = schedules.task({
  id: "nightly",
  cron: "0 2 * * *",
  run: async () => {
    await resize.trigger({ path: "a.png" });
  },
});
