import { EventSchemas, Inngest, InngestMiddleware } from "inngest";
import type { MiddlewareOptions } from "inngest";
import { channel, realtimeMiddleware } from "@inngest/realtime";
import { serve } from "inngest/express";
import { connect } from "inngest/connect";

type Events = { "shop/paid": { data: { id: string } } };

const log = new InngestMiddleware({ name: "log", init: () => ({}) });

export const inngest = new Inngest({
  id: "old",
  schemas: new EventSchemas().fromRecord<Events>(),
  middleware: [log, realtimeMiddleware()],
  logLevel: "debug",
  fetch: globalThis.fetch.bind(globalThis),
});

export const mount = serve({
  client: inngest,
  functions: [],
  signingKey: process.env.INNGEST_SIGNING_KEY,
  baseUrl: "http://localhost:8288",
  streaming: false,
});

export const connection = connect({
  apps: [{ client: inngest, functions: [] }],
  rewriteGatewayEndpoint: (url) => url.replace("gw1", "gw2"),
});

export const topics = channel("orders");
export const options: MiddlewareOptions | undefined = undefined;
