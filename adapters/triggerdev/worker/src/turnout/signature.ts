/** Signs messages to the service: the standard-webhooks scheme, HMAC-SHA256. */
import { createHmac, randomUUID } from "node:crypto";

const PREFIX = "whsec_";
const SHORTEST_KEY = 24;

/** The signing keys are missing or wrong; the text says how to write them, and never shows one. */
export class WrongKeys extends Error {
  override readonly name = "WrongKeys";
}

/** Reads keys written whsec_…, separated by commas. While keys are rotated there are two. */
export function signingKeys(setting: string | undefined): readonly Buffer[] {
  const texts = (setting ?? "").split(",").map((text) => text.trim());
  const keys = texts.filter(Boolean).map(keyOf);
  if (keys.length === 0) throw new WrongKeys("TURNOUT_SIGNING_KEYS is not set");
  return keys;
}

function keyOf(text: string): Buffer {
  const key = Buffer.from(text.slice(PREFIX.length), "base64");
  if (!text.startsWith(PREFIX) || key.length < SHORTEST_KEY) {
    throw new WrongKeys("TURNOUT_SIGNING_KEYS must hold keys written whsec_…, with 24 bytes or more");
  }
  return key;
}

/**
 * Headers that prove who sent this body, and when. Every sending gets an id and a time of its own:
 * the service refuses what is older than five minutes. All keys sign, so that the service may
 * already know the new one, or still only the old one.
 */
export function signed(
  body: string,
  keys: readonly Buffer[],
  now: number = Date.now(),
): Record<string, string> {
  const id = `msg_${randomUUID()}`;
  const timestamp = String(Math.floor(now / 1000));
  const content = `${id}.${timestamp}.${body}`;
  const signatures = keys.map(
    (key) => `v1,${createHmac("sha256", key).update(content).digest("base64")}`,
  );
  return {
    "webhook-id": id,
    "webhook-timestamp": timestamp,
    "webhook-signature": signatures.join(" "),
  };
}
