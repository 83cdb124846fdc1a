import { pythonExtension } from "@trigger.dev/python/extension";
import { defineConfig } from "@trigger.dev/sdk";
import { exporters } from "./src/turnout/telemetry.js";

// The worker's own configuration (adapters/triggerdev/worker), and the extension.
export default defineConfig({
  project: process.env["TRIGGER_PROJECT_REF"] ?? "proj_yours",
  dirs: ["./src/trigger"],
  runtime: "node-22",
  maxDuration: 3600,
  retries: { enabledInDev: true },
  processKeepAlive: { enabled: true, maxExecutionsPerProcess: 100, devMaxPoolSize: 25 },
  telemetry: { exporters: exporters(process.env) },
  build: {
    extensions: [
      // Scripts are copied beside the tasks; packages of theirs: requirementsFile: "./requirements.txt".
      pythonExtension({ scripts: ["./scripts/**/*.py"], devPythonBinaryPath: "python3" }),
    ],
  },
});
