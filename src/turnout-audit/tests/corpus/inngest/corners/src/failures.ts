if (!key) throw new Error("INNGEST_SIGNING_KEY is required");
export const failed = { event: "inngest/function.failed" };
export const room = { event: "inngest/rooms.booked" };
import { INNGEST_CLIENT } from "./tokens";
// event: "inngest/function.failed"
