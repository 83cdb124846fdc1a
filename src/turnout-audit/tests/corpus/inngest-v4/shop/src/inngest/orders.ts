import { inngest } from "./client";

export const paid = inngest.createFunction(
  { id: "order-paid", retries: 2 },
  { event: "shop/order.paid" },
  async ({ event, step }) => {
    await step.sleep("settle", "1m");
    return step.run("store", () => event.name);
  },
);

export const both = inngest.createFunction(
  {
    id: "both",
    concurrency: 2,
  },
  [{ event: "shop/a" }, { cron: "0 6 * * *" }],
  async ({ step }) => step.run("x", () => 1),
);

export const invoked = inngest.createFunction({ id: "invoked" }, [], async () => 1);

export const fresh = inngest.createFunction(
  { id: "fresh", triggers: [{ cron: "0 0 * * *" }] },
  async () => 1,
);
