/** What this worker knows of its surroundings: the definition file, and the environment. */
import definitionFile from "../../turnout.definition.json" with { type: "json" };
import { readDefinition } from "./definition.js";
import { Service } from "./service.js";
import { signingKeys } from "./signature.js";

export const definition = readDefinition(definitionFile);

/**
 * The service, opened for each run: a process that is kept gets fresh variables with each, so that
 * a rotated key counts at once. At build time, when tasks are registered, there are no keys yet.
 */
export function service(): Service {
  return new Service(serviceUrl(), signingKeys(process.env["TURNOUT_SIGNING_KEYS"]));
}

/** TURNOUT_SERVICE_URL goes before the file, which is the same for all environments. */
export function serviceUrl(): string {
  return process.env["TURNOUT_SERVICE_URL"] || definition.service;
}
