"use client";
import { useRealtimeRun } from "@trigger.dev/react-hooks";
import { trigger } from "./dom";

export function Progress({ id, token }: { id: string; token: string }) {
  const { run } = useRealtimeRun(id, { accessToken: token });
  return (
    <div data-trigger="dev">
      <p>{run?.status}</p>
      <button onClick={() => trigger("save")}>Save</button>
      <a href="https://trigger.dev/docs">Trigger.dev docs</a>
    </div>
  );
}
