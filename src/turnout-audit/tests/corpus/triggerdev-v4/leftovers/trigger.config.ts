import { defineConfig } from "@trigger.dev/sdk";
import type { ResolveEnvironmentVariablesFunction } from "@trigger.dev/sdk/v3";

export default defineConfig({
  project: "proj_left",
  runtime: "bun-legacy",
  maxDuration: 3,
  onStart: async (payload, { ctx }) => {
    console.log(payload, ctx);
  },
  onFailure: async ({ error }) => console.error(error),
  init: async () => {},
  additionalPackages: ["wrangler"],
  additionalFiles: ["./assets/**"],
  dependenciesToBundle: [/.*/],
  postInstall: "prisma generate",
  instrumentations: [],
  telemetry: { instrumentations: [] },
});

export const handleError = async (payload: unknown, error: unknown) => {
  console.error(payload, error);
};
