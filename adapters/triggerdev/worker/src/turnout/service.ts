/** Speaks to the service: signed, and said again until it is answered. */
import { setTimeout as delay } from "node:timers/promises";
import { type Fields, fieldsOf } from "./json.js";
import { LARGEST_MESSAGE, type Message, STEP_PATH } from "./messages.js";
import { faultOf } from "./origin.js";
import { signed } from "./signature.js";

const ANSWER_IN = 60_000;
const HINT_IN = 5_000;
const FIRST_DELAY = 100;
const LONGEST_DELAY = 10_000;
const SHORTEST_ASKED = 50;
const LONGEST_ASKED = 60_000;
/** Tries after which a service that only says `later` is worth a word. */
const PATIENCE = 5;
const MOST_SERVER_ERRORS = 10;
const CONFLICT = 409;
const AGAIN: ReadonlySet<number> = new Set([429, 503]);

/** The run is superseded, cancelled or finished: end without running anything. */
export class EndQuietly extends Error {
  override readonly name = "EndQuietly";
  constructor(readonly code: string) {
    super(`the service says that this run is ${code}`);
  }
}

/** The service does not talk to this worker: this vendor attempt fails, and another may follow. */
export class ServiceRefused extends Error {
  override readonly name = "TurnoutService";
  constructor(code: string, message: string) {
    super(`${code}: ${message}`);
  }
}

/** One answer of the service, whatever it is. */
export interface Answer {
  readonly status: number;
  readonly fields: Fields;
  /** When it was answered by the service's clock, to the second; undefined where it did not say. */
  readonly date: number | undefined;
}

/** Says once for a call why it is not answered yet. */
export type Warn = (message: string, about: { readonly [name: string]: string | number }) => void;

/** The service's step endpoint, and the keys that sign messages to it. */
export class Service {
  readonly #url: string;
  readonly #keys: readonly Buffer[];
  readonly #warn: Warn;

  /** ServiceRefused where the origin cannot be one: to try again would not help. */
  constructor(origin: string, keys: readonly Buffer[], warn: Warn = () => undefined) {
    const fault = faultOf(origin);
    if (fault !== undefined) throw new ServiceRefused("wrong_address", `the address ${fault}`);
    this.#url = `${origin.replace(/\/+$/, "")}${STEP_PATH}`;
    this.#keys = keys;
    this.#warn = warn;
  }

  /** The answer to a message, which is sent again until there is one. The signal ends all trying. */
  async ask(message: Message, signal: AbortSignal): Promise<Fields> {
    const body = bodyOf(message);
    let serverErrors = 0;
    let warned = false;
    for (let attempt = 0; ; attempt += 1) {
      const tried = await this.#tried(body, signal);
      const answer = typeof tried === "string" ? undefined : tried;
      if (answer !== undefined && answer.status < 300) return answer.fields;
      if (answer !== undefined && isServerError(answer.status)) serverErrors += 1;
      const asked = answer === undefined ? undefined : waitOrThrow(answer, serverErrors);
      if (!warned && (typeof tried === "string" || serverErrors > 0 || attempt >= PATIENCE)) {
        warned = true;
        this.#warn("the service does not answer; asking on", about(message.op, tried));
      }
      await delay(asked ?? backoff(attempt), undefined, { signal });
    }
  }

  /** Says it once; whether it is heard does not matter. */
  async hint(message: Message): Promise<void> {
    try {
      await this.send(bodyOf(message), AbortSignal.timeout(HINT_IN));
    } catch {
      return; // A hint only makes the service look sooner.
    }
  }

  /** Sends one body, freshly signed. Rejects when there is no answer. */
  async send(body: string, signal: AbortSignal): Promise<Answer> {
    const response = await fetch(this.#url, {
      method: "POST",
      headers: { "content-type": "application/json", ...signed(body, this.#keys) },
      body,
      signal,
      redirect: "manual", // A signed message goes nowhere else; the status is told.
    });
    const text = await response.text();
    const date = Date.parse(response.headers.get("date") ?? "");
    return {
      status: response.status,
      fields: fieldsIn(text),
      date: Number.isNaN(date) ? undefined : date,
    };
  }

  /** One try; the reason when there was no answer. */
  async #tried(body: string, signal: AbortSignal): Promise<Answer | string> {
    try {
      return await this.send(body, AbortSignal.any([signal, AbortSignal.timeout(ANSWER_IN)]));
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof SyntaxError) throw error;
      return reasonOf(error);
    }
  }
}

/** Why there was no answer: `fetch failed` alone tells nothing. */
export function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (!(cause instanceof Error)) return String(cause);
  return `${cause.name}: ${cause.message || ("code" in cause ? String(cause.code) : "no answer")}`;
}

function about(op: string, tried: Answer | string): { op: string; reason: string } {
  return { op, reason: typeof tried === "string" ? tried : `status ${tried.status}` };
}

/** The text that is signed and sent; what is too large for the protocol is refused here. */
export function bodyOf(message: Message): string {
  const body = JSON.stringify(message);
  if (Buffer.byteLength(body) > LARGEST_MESSAGE) {
    throw new ServiceRefused("too_large", "the message is larger than the protocol allows");
  }
  return body;
}

function fieldsIn(text: string): Fields {
  try {
    return fieldsOf(JSON.parse(text), "the answer");
  } catch {
    return {}; // A proxy's page: its status says enough.
  }
}

const REDIRECTED =
  "the service's address leads elsewhere, and signed messages follow nowhere; " +
  "set TURNOUT_SERVICE_URL to where the service itself is";

function isServerError(status: number): boolean {
  return status >= 500 && !AGAIN.has(status);
}

/** How long the service asks us to wait; throws where its answer is final. */
function waitOrThrow(answer: Answer, serverErrors: number): number | undefined {
  const { status, fields } = answer;
  const code = typeof fields["code"] === "string" ? fields["code"] : String(status);
  const message = typeof fields["message"] === "string" ? fields["message"] : `status ${status}`;
  if (status === CONFLICT) throw new EndQuietly(code);
  if (AGAIN.has(status)) {
    const asked = fields["retry_after_ms"];
    if (typeof asked !== "number" || !(asked > 0)) return undefined;
    return Math.min(Math.max(asked, SHORTEST_ASKED), LONGEST_ASKED);
  }
  if (status >= 300 && status < 400) throw new ServiceRefused("redirected", REDIRECTED);
  if (status < 500 || serverErrors > MOST_SERVER_ERRORS) throw new ServiceRefused(code, message);
  return undefined;
}

/** Half to all of a delay that doubles, so that many workers do not come back at once. */
function backoff(attempt: number): number {
  const longest = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** Math.min(attempt, 10));
  return longest * (0.5 + Math.random() / 2);
}
