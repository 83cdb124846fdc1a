import { tasks } from "@trigger.dev/sdk/v3";
import { mail } from "../trigger/mail";

export async function enqueue(to: string, paid: boolean): Promise<string> {
  if (paid) {
    const handle = await mail.trigger(
      { to, subject: "hello" },
      { queue: { name: "paid-users", concurrencyLimit: 10 }, concurrencyKey: to },
    );
    return handle.id;
  }
  const handle = await tasks.trigger("mail", { to }, { queue: { name: "free", concurrencyLimit: 1 } });
  return handle.id;
}

export const once = (to: string) =>
  mail.trigger({ to, subject: "x" }, { queue: "paid-users" });

export const template = `
import { task } from "@trigger.dev/sdk/v3";
`;
