import { inngest as bus } from "../inngest/client";

export async function announce(order: string): Promise<void> {
  await bus.send({ name: "shop/order", data: { order } });
  await fetch("/api/inngest", { method: "PUT" });
  await fetch(`https://inn.gs/e/${process.env.INNGEST_EVENT_KEY}`, { method: "POST" });
}

const { INNGEST_SIGNING_KEY } = process.env;
export const provider = process.env.ORCHESTRATOR_PROVIDER === "inngest" ? "old" : "new";
export const signed = INNGEST_SIGNING_KEY !== undefined;
