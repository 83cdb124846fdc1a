import { task } from "@trigger.dev/sdk";
import { useQuery } from "@tanstack/react-query";
import { queue } from "p-queue-lite";
import { emitter } from "./emitter";

export const q = queue({ concurrencyLimit: 2 });
emitter.trigger("saved", { queue: { name: "x" } });
useQuery({ onSuccess: (data, key) => [data, key] });

export const t = task({
  id: "t",
  run: async (payload: { init: boolean; cleanup: () => void }) => {
    const sql = "INTERRUPTED";
    const result = { attempts: 2, runs: [1] };
    if (payload.init) payload.cleanup();
    return `${sql}${result.attempts}${result.runs.length}`;
  },
});
