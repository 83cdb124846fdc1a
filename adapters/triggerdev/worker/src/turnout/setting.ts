/** What this worker knows of its surroundings: the definition file, and the environment. */
import definitionFile from "../../turnout.definition.json" with { type: "json" };
import { readDefinition } from "./definition.js";
import { Service } from "./service.js";
import { signingKeys } from "./signature.js";

export const definition = readDefinition(definitionFile);

let opened: Service | undefined;

/**
 * The service, opened at the first call: tasks are registered at build time too, where there are
 * no keys yet. TURNOUT_SERVICE_URL goes before the file, which is the same for all environments.
 */
export function service(): Service {
  opened ??= new Service(serviceUrl(), signingKeys(process.env["TURNOUT_SIGNING_KEYS"]));
  return opened;
}

export function serviceUrl(): string {
  return process.env["TURNOUT_SERVICE_URL"] || definition.service;
}
