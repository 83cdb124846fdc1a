import { runs, tasks } from "@trigger.dev/sdk";
import type { resize } from "../../../../trigger/resize";

export async function POST(request: Request) {
  const { path } = await request.json();
  const handle = await tasks.trigger<typeof resize>("resize", { path });
  return Response.json(handle);
}

export async function DELETE(request: Request) {
  await runs.cancel(await request.text());
  return new Response(null, { status: 204 });
}
