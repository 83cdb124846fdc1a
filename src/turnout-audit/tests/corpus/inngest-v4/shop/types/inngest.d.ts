// The part of version 4 of the SDK that the samples use, written by hand.
declare module "inngest" {
  export interface Event {
    name: string;
    data: Record<string, unknown>;
  }
  export type Trigger = { event: string; if?: string } | { cron: string };
  export interface FunctionOptions {
    id: string;
    retries?: number;
    concurrency?: number;
    triggers?: Trigger | Trigger[];
    checkpointing?: boolean | { maxRuntime: string };
  }
  export interface Step {
    run<T>(id: string, body: () => T | Promise<T>): Promise<T>;
    sleep(id: string, time: string): Promise<void>;
  }
  export interface ClientOptions {
    id: string;
    isDev?: boolean;
    signingKey?: string;
    checkpointing?: boolean | { maxRuntime: string };
  }
  export interface InngestFunction {
    id: string;
  }
  export class Inngest {
    constructor(options: ClientOptions);
    createFunction(
      options: FunctionOptions,
      handler: (context: { event: Event; step: Step }) => unknown,
    ): InngestFunction;
    send(event: Event): Promise<{ ids: string[] }>;
  }
}

declare module "inngest/next" {
  import type { Inngest, InngestFunction } from "inngest";
  export function serve(options: {
    client: Inngest;
    functions: InngestFunction[];
    serveOrigin?: string;
    servePath?: string;
    streaming?: boolean;
  }): { GET: unknown; POST: unknown; PUT: unknown };
}

declare const process: { env: Record<string, string | undefined> };
