/** The vendor's run, as the loop needs it: waits, spans and metadata of the SDK. */
import { setTimeout as delay } from "node:timers/promises";
import { apiClientManager, runtime, taskContext } from "@trigger.dev/core/v3";
import { logger, metadata, wait } from "@trigger.dev/sdk";
import type { Host } from "./loop.js";
import type { Progress, Receipt, Start } from "./messages.js";
import { piped } from "./pipe.js";
import { ProgressStream } from "./progressStream.js";

/** What the SDK hands to a span's work. */
type Span = Parameters<Parameters<typeof logger.trace>[1]>[0];

const ERROR = 2;
/** Outcomes that are no failure: `accepted` and `busy` go on elsewhere. */
const FINE: ReadonlySet<string> = new Set(["completed", "accepted", "busy"]);

export interface VendorHost extends Host {
  /** Settles when everything that was said has been sent, or could not be. */
  close(): Promise<void>;
}

/** Where in the run's metadata everything of ours is. */
const KEY = "turnout";

type Shown = { [name: string]: Parameters<typeof metadata.set>[1] };

/** A host for one run. */
export function vendorHost(): VendorHost {
  const progressStream = new ProgressStream();
  let passed = passedBefore();
  let shown: Shown = {};
  const show = (): unknown => metadata.set(KEY, passed === 0 ? shown : { ...shown, passed });
  return {
    ...waits,
    span: spanned,
    progress(progress) {
      shown = metadataOf(progress);
      show();
      progressStream.send(progress.latest);
    },
    passed: () => passed,
    pass: piped,
    async remember(count) {
      passed = count;
      show();
      await metadata.flush(); // Now: what is not known to be passed on is passed on again.
    },
    givenUp(reason) {
      logger.warn("what the task streams is not passed on", { error: String(reason) });
    },
    close: () => progressStream.settled(),
  };
}

/** How many chunks an earlier attempt of this vendor run has passed on. */
function passedBefore(): number {
  const stored = metadata.get(KEY);
  if (typeof stored !== "object" || stored === null || Array.isArray(stored)) return 0;
  const passed = stored["passed"];
  return typeof passed === "number" && Number.isSafeInteger(passed) && passed > 0 ? passed : 0;
}

const waits: Pick<Host, "newToken" | "wait" | "sleep"> = {
  async newToken(key, until) {
    const token = await wait.createToken({
      idempotencyKey: key,
      timeout: until,
      tags: ["turnout"],
    });
    return token.id;
  },

  async wait(token) {
    // Completed or timed out: either way the service knows more. `wait.forToken` would show every
    // sleep as an error, because a sleep is a token that times out.
    await logger.trace("wait", () => tokenEnded(token), { icon: "wait" });
  },

  async sleep(ms, signal) {
    await delay(ms, undefined, { signal });
  },
};

async function tokenEnded(token: string): Promise<void> {
  const run = taskContext.ctx?.run.id;
  if (run === undefined) throw new Error("a token is waited for outside of a run");
  const ids = { runFriendlyId: run, waitpointFriendlyId: token };
  const { success } = await apiClientManager.clientOrThrow().waitForWaitpointToken(ids);
  if (!success) throw new Error(`the platform does not let the run wait for ${token}`);
  await runtime.waitUntil(token);
}

const spanned: Host["span"] = (start, work) =>
  logger.trace(
    start.label,
    (span) => work((receipt) => show(span, receipt)),
    { icon: "function", attributes: attributesOf(start) },
  );

function attributesOf(start: Start): Record<string, string | number> {
  return { "turnout.step": start.step, "turnout.attempt": start.attempt };
}

/** An attempt that failed is red, though the vendor's run goes on. */
function show(span: Span, receipt: Receipt): void {
  span.setAttribute("turnout.outcome", receipt.outcome);
  if (receipt.durationMs !== undefined) span.setAttribute("turnout.duration_ms", receipt.durationMs);
  if (FINE.has(receipt.outcome)) return;
  const { name, message } = receipt.error ?? { name: receipt.outcome, message: "" };
  span.setAttribute("turnout.error", `${name}: ${message}`);
  span.setStatus({ code: ERROR, message: `${name}: ${message}` });
}

/** What the dashboard shows, and what realtime subscribers read. */
function metadataOf({ done, current, latest }: Progress): Shown {
  const shown = { done, current: [...current] };
  return latest === null ? shown : { ...shown, told: latest as string };
}
