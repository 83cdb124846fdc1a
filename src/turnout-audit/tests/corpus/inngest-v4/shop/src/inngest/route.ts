import { serve } from "inngest/next";
import { inngest } from "./client";
import { both, fresh, invoked, paid } from "./orders";

const serveHost = process.env.INNGEST_SERVE_HOST;

export const { GET, POST, PUT } = serve({
  client: inngest,
  functions: [both, fresh, invoked, paid],
  serveHost,
  streaming: "force",
});
