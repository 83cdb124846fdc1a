import { metadata, task } from "@trigger.dev/sdk/v3";
import { completion } from "db";

export const chat = task({
  id: "chat",
  run: async (payload: { prompt: string }, { signal }) => {
    const source = await completion(payload.prompt);
    const stream = await metadata.stream("openai", source, signal);
    let text = "";
    for await (const part of stream) text += part;
    await metadata.stream<string>("again", await completion(text));
    return { text };
  },
});
