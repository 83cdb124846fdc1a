import { useRealtimeRunWithStreams as useAll } from "@trigger.dev/react-hooks";
import { prismaExtension } from "@trigger.dev/build/extensions/prisma";
import { useRealtimeStream } from "@trigger.dev/react-hooks";

const shared = { schema: "a" };
export const prisma = prismaExtension({ ...shared });
export const modern = prismaExtension({ mode: "modern" });
export const bare = prismaExtension();

export function Old({ id }: { id: string }) {
  const { streams } = useAll(id);
  const { parts } = useRealtimeStream<string>(id, "a");
  return <pre title={parts.join("")}>{JSON.stringify(streams)}</pre>;
}
