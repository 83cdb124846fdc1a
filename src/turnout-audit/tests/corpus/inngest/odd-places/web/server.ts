import * as ingest from "./ingest";
import { type ServeHandlerOptions } from "inngest/types"; import fs from "node:fs";
import express from "express";
const app = express();
app.use(
  "/api/inngest",
  (await import("inngest/express")).serve({ client, functions }),
);
/*
import { Inngest } from "inngest";
*/
const re = /from "inngest"/;
const note = 'call inngest.send() at /api/inngest-v2';
export default { app, ingest, fs, re, note, opts: {} as ServeHandlerOptions };
