"use strict";
const { tasks: jobs } = require("@trigger.dev/sdk");
const lazy = () => import("@trigger.dev/sdk/ai");

exports.start = (path) => jobs.trigger("resize", { path });
exports.base = process.env.TRIGGER_API_URL || "https://api.trigger.dev";
exports.level = process.env.TRIGGER_HAPPY;
exports.lazy = lazy;
exports.old = process.env.ORCHESTRATOR_PROVIDER === "triggerdev";
