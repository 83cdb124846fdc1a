/** The vendor's run, as the loop needs it: waits, spans and metadata of the SDK. */
import { setTimeout as delay } from "node:timers/promises";
import { logger, metadata, wait } from "@trigger.dev/sdk";
import type { Host } from "./loop.js";
import type { Progress, Receipt, Start } from "./messages.js";
import { SaidStream } from "./said.js";

/** What the SDK hands to a span's work. */
type Span = Parameters<Parameters<typeof logger.trace>[1]>[0];

const ERROR = 2;
/** Outcomes that are no failure: `accepted` and `busy` go on elsewhere. */
const FINE: ReadonlySet<string> = new Set(["completed", "accepted", "busy"]);

export interface VendorHost extends Host {
  /** Settles when everything that was said has been sent, or could not be. */
  close(): Promise<void>;
}

/** A host for one run. */
export function vendorHost(): VendorHost {
  const said = new SaidStream();
  return {
    ...waits,
    span: spanned,
    progress(progress) {
      metadata.set("turnout", metadataOf(progress));
      said.tell(progress.told);
    },
    close: () => said.sent(),
  };
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
    await wait.forToken(token); // Completed or timed out: either way the service knows more.
  },

  async sleep(ms, signal) {
    await delay(ms, undefined, { signal });
  },
};

const spanned: Host["span"] = (start, work) =>
  logger.trace(
    `${start.label} #${start.attempt}`,
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
function metadataOf({ done, current, told }: Progress): Parameters<typeof metadata.set>[1] {
  const shown = { done, current: [...current] };
  return told === null ? shown : { ...shown, told: told as string };
}
