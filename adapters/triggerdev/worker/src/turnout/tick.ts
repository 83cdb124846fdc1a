/** A schedule's vendor run: it tells the service of the slot, and is done. */
import type { Fields } from "./json.js";
import type { StepClient } from "./loop.js";
import type { Tick } from "./messages.js";
import { EndQuietly } from "./service.js";

/** Says it until it is answered; a slot that is another's ends quietly. */
export async function tick(
  message: Tick,
  service: StepClient,
  signal: AbortSignal,
): Promise<Fields & { readonly turnout: 1 }> {
  try {
    return { turnout: 1, ...(await service.ask(message, signal)) };
  } catch (error) {
    if (error instanceof EndQuietly) return { turnout: 1, ended: error.code };
    throw error;
  }
}
