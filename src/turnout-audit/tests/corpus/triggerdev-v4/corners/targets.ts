import { TriggerClient } from "@trigger.dev/sdk";
export const preview = new TriggerClient({ accessToken: "x", previewBranch: "b" });
