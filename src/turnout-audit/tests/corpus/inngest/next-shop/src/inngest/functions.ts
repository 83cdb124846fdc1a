import { NonRetriableError, type GetEvents } from "inngest";
import { inngest } from "./client";

/**
 * Inngest calls this once a day.
 */
export const daily = inngest.createFunction(
  { id: "daily-report" },
  { cron: "0 6 * * *" },
  async ({ step }) => {
    const orders = await step.run("load", async () => [1, 2, 3]);
    await step.sendEvent("tell", { name: "shop/report.ready", data: { orders } });
    if (orders.length === 0) throw new NonRetriableError("nothing to report");
    return `inngest sent ${orders.length} orders`;
  },
);

export const paid = inngest.createFunction({ id: "paid" }, { event: "shop/paid" }, async () => {
  await inngest.send({ name: "shop/mail", data: {} });
});

export type AllEvents = GetEvents<typeof inngest>;
export const functions = [daily, paid];
