/**
 * Looks at the way from here to the service: reachable, how far, whose clock, which definition.
 *
 * `turnout doctor --through-worker` starts it, so that what is checked is the path of real runs.
 */
import { PROTOCOL } from "./messages.js";
import { type Answer, bodyOf, reasonOf, type Service } from "./service.js";

const TRIES = 5;
const ANSWER_IN = 10_000;

/** What was seen. */
export interface Probed {
  readonly turnout: 1;
  readonly service: string;
  readonly definition: string;
  /** The service's answer to the last try; null when there was none. */
  readonly status: number | null;
  readonly code: string | null;
  readonly message: string | null;
  readonly latency_ms: number | null;
  /** How far the service's clock is ahead of ours. */
  readonly clock_ms: number | null;
}

interface Try {
  readonly answer: Answer;
  readonly took: number;
  readonly ahead: number | undefined;
}

/** Tries the way a few times; what cannot be reached or is refused is told, not thrown. */
export async function probe(
  service: Service,
  url: string,
  definition: string,
  signal: AbortSignal,
): Promise<Probed> {
  const about = { turnout: 1, service: url, definition } as const;
  const body = bodyOf({ protocol: PROTOCOL, op: "probe", definition });
  const tries: Try[] = [];
  try {
    for (let at = 0; at < TRIES; at += 1) tries.push(await once(service, body, signal));
  } catch (error) {
    signal.throwIfAborted();
    if (tries.length === 0) return { ...about, ...unreached(error) };
  }
  return { ...about, ...outcomeOf(tries) };
}

async function once(service: Service, body: string, signal: AbortSignal): Promise<Try> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_IN)]);
  const began = performance.now();
  const sentAt = Date.now();
  const answer = await service.send(body, limit);
  const took = performance.now() - began;
  const { at } = answer.fields;
  const ahead = typeof at === "number" ? at - (sentAt + took / 2) : fromDate(answer, sentAt + took);
  return { answer, took, ahead };
}

/** The header tells whole seconds, even in a refusal: enough to explain one for a wrong clock. */
function fromDate({ date }: Answer, now: number): number | undefined {
  return date === undefined ? undefined : date + 500 - now;
}

function unreached(error: unknown): Omit<Probed, "turnout" | "service" | "definition"> {
  return {
    status: null,
    code: "unreachable",
    message: reasonOf(error),
    latency_ms: null,
    clock_ms: null,
  };
}

/** The quickest try is the way itself; the others had to wait for something. */
function outcomeOf(tries: readonly Try[]): Omit<Probed, "turnout" | "service" | "definition"> {
  const best = tries.reduce((a, b) => (b.took < a.took ? b : a));
  const { status, fields } = best.answer;
  return {
    status,
    code: textOrNull(fields["code"]),
    message: textOrNull(fields["message"]),
    latency_ms: Math.round(best.took * 10) / 10,
    clock_ms: best.ahead === undefined ? null : Math.round(best.ahead),
  };
}

function textOrNull(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}
