/** Writes to the realtime streams of the run that this is in. */
import { streams } from "@trigger.dev/sdk";

/** Appends values to a stream; settles when the platform has them. */
export async function piped(
  name: string,
  values: readonly unknown[],
  signal: AbortSignal,
): Promise<void> {
  guard();
  const { waitUntilComplete } = streams.pipe(name, iterated(values), { signal, collapsed: true });
  try {
    await waitUntilComplete();
  } catch (error) {
    if (typeof error === "object" && error !== null) handled.add(error);
    throw error;
  }
}

async function* iterated<T>(values: readonly T[]): AsyncGenerator<T> {
  yield* values;
}

/** What streams failed with; we know of it. */
const handled = new WeakSet<object>();
let guarding = false;

/**
 * The SDK (4.8.3) forks a promise for the span of a pipe and leaves its rejection to nobody, which
 * would end this process, and the run with it. Every other rejection ends it as before.
 */
function guard(): void {
  if (guarding) return;
  guarding = true;
  process.on("unhandledRejection", (reason) => {
    if (typeof reason !== "object" || reason === null || !handled.has(reason)) throw reason;
  });
}
