import { Inngest } from "inngest";

// schemas: new EventSchemas() was here
export const inngest = new Inngest({
  id: "shop",
  isDev: process.env.NODE_ENV !== "production",
  experimentalCheckpointing: { maxRuntime: "50s" },
});
