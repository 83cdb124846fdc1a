import { schemaTask, toolTask } from "@trigger.dev/sdk/v3";
import { ai } from "@trigger.dev/sdk/ai";
import { tool } from "ai";
import { z } from "zod";

export const weather = toolTask({
  id: "weather",
  parameters: z.object({ city: z.string() }),
  run: async ({ city }) => city,
});

export const lookup = schemaTask({ id: "lookup", schema: z.string(), run: async (q) => q });
export const old = ai.tool(lookup);
export const now = tool({ inputSchema: z.string(), execute: ai.toolExecute(lookup) });
