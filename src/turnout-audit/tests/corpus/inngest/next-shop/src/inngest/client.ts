import { EventSchemas, Inngest } from "inngest";
import type { Events } from "./types";

// Inngest infers the types of events from here.
export const inngest = new Inngest({
  id: "next-shop",
  schemas: new EventSchemas().fromRecord<Events>(),
  eventKey: process.env.INNGEST_EVENT_KEY,
  baseUrl: process.env["INNGEST_BASE_URL"] ?? "http://localhost:8288",
});
