import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import { signed, signingKeys, WrongKeys } from "../src/turnout/signature.js";

const OLD = Buffer.alloc(32, "a");
const NEW = Buffer.alloc(32, "b");
const written = (key: Buffer): string => `whsec_${key.toString("base64")}`;

test("the headers are those of standard-webhooks, over id, time and body", () => {
  const headers = signed("{}", [OLD], 1_700_000_000_999);
  const id = headers["webhook-id"];
  const wanted = createHmac("sha256", OLD).update(`${id}.1700000000.{}`).digest("base64");
  assert.equal(headers["webhook-timestamp"], "1700000000");
  assert.equal(headers["webhook-signature"], `v1,${wanted}`);
});

test("a known message has the signature that the scheme's own example gives", () => {
  const key = Buffer.from("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "base64");
  const content = 'msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}';
  const known = "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
  assert.equal(createHmac("sha256", key).update(content).digest("base64"), known);
});

test("while keys are rotated every key signs", () => {
  const keys = signingKeys(` ${written(OLD)}, ${written(NEW)},`);
  const signatures = signed("x", keys)["webhook-signature"]?.split(" ") ?? [];
  assert.equal(signatures.length, 2);
  assert.notEqual(signatures[0], signatures[1]);
});

test("no two sendings share an id", () => {
  const ids = new Set(Array.from({ length: 100 }, () => signed("x", [OLD])["webhook-id"]));
  assert.equal(ids.size, 100);
});

test("wrong keys are refused by the setting's name, and never shown", () => {
  for (const setting of [undefined, "", ",", "secret", "whsec_c2hvcnQ="]) {
    assert.throws(
      () => signingKeys(setting),
      (error: Error) =>
        error instanceof WrongKeys &&
        error.message.includes("TURNOUT_SIGNING_KEYS") &&
        !error.message.includes("secret"),
    );
  }
});
