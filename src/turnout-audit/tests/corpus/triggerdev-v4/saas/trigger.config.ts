import { prismaExtension } from "@trigger.dev/build/extensions/prisma";
import { defineConfig } from "@trigger.dev/sdk/v3";

export default defineConfig({
  project: "proj_saas",
  runtime: "node",
  triggerDirectories: ["./trigger"],
  tsconfigPath: "./tsconfig.json",
  experimental_processKeepAlive: true,
  build: {
    external: ["sharp"],
    experimental_minify: true,
    extensions: [
      prismaExtension({
        schema: "prisma/schema.prisma",
        migrate: true,
      }),
    ],
  },
});
