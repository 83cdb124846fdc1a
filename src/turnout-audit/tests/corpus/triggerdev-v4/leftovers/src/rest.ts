import { runs } from "@trigger.dev/sdk";

const base = process.env.TRIGGER_API_URL;

export async function state(id: string) {
  const run = await runs.retrieve(id);
  console.log(run.attempts.length);
  console.log(run.attemptCount);
  if (run.status === "REATTEMPTING") return "busy";
  if (["FROZEN", "WAITING_FOR_DEPLOY"].includes(run.status)) return "waiting";
  return run.status === "EXECUTING" ? "busy" : "done";
}

export const many = (items: unknown[]) =>
  fetch(`${base}/api/v1/tasks/batch`, { method: "POST", body: JSON.stringify({ items }) });
export const mails = () => fetch(`${base}/api/v1/tasks/mail/batch`, { method: "POST" });
export const one = () => fetch(`${base}/api/v1/tasks/mail/trigger`, { method: "POST" });
export const fresh = () => fetch(`${base}/api/v3/batches`, { method: "POST" });
