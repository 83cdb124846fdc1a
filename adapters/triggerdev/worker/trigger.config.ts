import { defineConfig } from "@trigger.dev/sdk";
import { exporters } from "./src/turnout/telemetry.js";

export default defineConfig({
  project: process.env["TRIGGER_PROJECT_REF"] ?? "proj_yours",
  dirs: ["./src/trigger"],
  runtime: "node-22",
  // For tasks without a limit of their own: the service ends runs by their deadlines.
  maxDuration: 3600,
  retries: { enabledInDev: true },
  // A run of this worker is mostly waiting for the service; a new process each would cost more.
  processKeepAlive: { enabled: true, maxExecutionsPerProcess: 100, devMaxPoolSize: 25 },
  telemetry: { exporters: exporters(process.env) },
});
