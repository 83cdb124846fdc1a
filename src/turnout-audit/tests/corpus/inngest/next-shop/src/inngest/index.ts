export { Inngest } from "inngest";
export * from "inngest/types";
export type { EventPayload } from 'inngest'
export * from "./client";
export { functions } from "./functions";
