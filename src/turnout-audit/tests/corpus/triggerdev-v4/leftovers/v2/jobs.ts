import { cronTrigger, eventTrigger, TriggerClient } from "@trigger.dev/sdk";

export const client = new TriggerClient({ id: "shop" });

client.defineJob({
  id: "welcome",
  name: "Welcome",
  version: "1.0.0",
  trigger: eventTrigger({ name: "user.created" }),
  run: async (payload, io, ctx) => {
    await io.runTask("mail", async () => ({ sent: true }));
    await io.sendEvent("next", { name: "mail.sent" });
  },
});

export const tell = () => client.sendEvent({ name: "user.created", payload: {} });
export const nightly = cronTrigger;
