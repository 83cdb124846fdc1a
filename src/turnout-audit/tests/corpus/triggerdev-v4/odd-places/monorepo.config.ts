import { defineConfig } from "@trigger.dev/sdk";
import { withShared } from "@acme/trigger";

export default defineConfig(withShared({ project: "p", runtime: "bun" }));
