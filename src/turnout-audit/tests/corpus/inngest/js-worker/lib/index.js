"use strict";

const { Inngest, NonRetriableError: Fatal } = require("inngest");
const { serve } = require('inngest/express');
const express = require("express");
const local = require("./inngest");

const queue = new Inngest({ id: "js-worker", isDev: process.env.INNGEST_DEV === "1" });

const resize = queue.createFunction(
  { id: "resize", retries: 2 },
  { event: "image/uploaded" },
  async ({ event, step }) => {
    if (!event.data.path) throw new Fatal("no path");
    return step.run("resize", () => local.resize(event.data.path));
  },
);

const app = express();
app.use("/api/inngest", serve({ client: queue, functions: [resize] }));
app.get("/status", (req, res) => res.json({ inngest: false }));
app.listen(3000, () => console.log("no inngest here"));

module.exports = { queue, resize };
