import { defineConfig } from "@trigger.dev/sdk";
import { ffmpeg } from "@trigger.dev/build/extensions/core";

// Trigger.dev reads this file
export default defineConfig({
  project: process.env.TRIGGER_PROJECT_REF!,
  runtime: "node-22",
  maxDuration: 300,
  dirs: ["./trigger"],
  build: { extensions: [ffmpeg()] },
});
