/** What this worker knows of its surroundings: the definition file, and the environment. */
import definitionFile from "../../turnout.definition.json" with { type: "json" };
import { logger } from "@trigger.dev/sdk";
import { readDefinition } from "./definition.js";
import { faultOf } from "./origin.js";
import { Service, ServiceRefused } from "./service.js";
import { signingKeys } from "./signature.js";

export const definition = readDefinition(definitionFile);

/**
 * The service, opened for each run: a process that is kept gets fresh variables with each, so that
 * a rotated key counts at once. At build time, when tasks are registered, there are no keys yet.
 */
export function service(): Service {
  const keys = signingKeys(process.env["TURNOUT_SIGNING_KEYS"]);
  return new Service(serviceUrl(), keys, (message, about) => logger.warn(message, about));
}

/**
 * TURNOUT_SERVICE_URL goes before the file, which is the same for all environments.
 *
 * ServiceRefused, naming the variable or the file, where it is no address of a service.
 */
export function serviceUrl(): string {
  const override = process.env["TURNOUT_SERVICE_URL"];
  const address = override || definition.service;
  const fault = faultOf(address);
  if (fault === undefined) return address;
  const name = override ? "TURNOUT_SERVICE_URL" : "the service in turnout.definition.json";
  throw new ServiceRefused("wrong_address", `${name} ${fault}`);
}
