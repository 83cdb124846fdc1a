import type { Inngest } from "inngest";

export async function sdk(): Promise<typeof import("inngest")> {
  return await import("inngest");
}

const helpers = require("@inngest/test");
export const hooks = () => import(/* webpackChunkName: "hooks" */ "inngest/hooks");
export const ours = () => import("./inngest-free");
export const named = "inngest";
export { helpers };
export type Client = Inngest;
