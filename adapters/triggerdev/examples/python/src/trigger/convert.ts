/** A script in Python as a task of the vendor's: for what needs nothing of the service. */
import { python } from "@trigger.dev/python";
import { AbortTaskRunError, task } from "@trigger.dev/sdk";

/** A script gets the worker's whole environment; what is not its business is emptied. */
const WITHOUT_SECRETS = { TRIGGER_SECRET_KEY: "", TRIGGER_ACCESS_TOKEN: "", TURNOUT_SIGNING_KEYS: "" };
/** An argument's limit on Linux is 128 KiB. */
const LARGEST = 100_000;

export const convert = task({
  id: "convert",
  maxDuration: 60,
  retry: { maxAttempts: 2, minTimeoutInMs: 500 },
  run: async (payload: unknown): Promise<unknown> => {
    const input = inputOf(payload);
    const { stdout } = await python.runScript("./scripts/convert.py", [input], { env: WITHOUT_SECRETS });
    return resultIn(stdout);
  },
});

/** What is wrong with a payload stays wrong: it is not tried again. */
function inputOf(payload: unknown): string {
  const celsius = (payload as { celsius?: unknown } | null)?.celsius;
  if (!Array.isArray(celsius) || !celsius.every((each) => typeof each === "number")) {
    throw new AbortTaskRunError("payload.celsius must be a list of numbers");
  }
  const input = JSON.stringify({ celsius });
  if (input.length > LARGEST) throw new AbortTaskRunError(`the input is over ${LARGEST} characters`);
  return input;
}

/** The last line is the result; what a library prints before it is no part of it. */
function resultIn(stdout: string): unknown {
  const line = stdout.trimEnd().split("\n").at(-1) ?? "";
  return JSON.parse(line);
}
