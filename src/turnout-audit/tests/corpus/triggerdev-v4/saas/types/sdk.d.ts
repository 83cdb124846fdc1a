// The part of version 4 of the SDK that the samples use, written by hand.
declare module "@trigger.dev/sdk" {
  export interface Context {
    run: { id: string; tags: string[] };
    attempt: { number: number };
    task: { id: string; filePath: string };
  }
  export type Machine =
    | "micro" | "small-1x" | "small-2x" | "medium-1x" | "medium-2x" | "large-1x" | "large-2x";
  export interface Queue {
    name: string;
    concurrencyLimit?: number;
  }
  export interface Handle {
    id: string;
    publicAccessToken: string;
  }
  export type Result<T> =
    | { ok: true; id: string; output: T }
    | { ok: false; id: string; error: unknown };
  export interface TriggerOptions {
    queue?: string;
    concurrencyKey?: string;
    machine?: Machine;
    idempotencyKey?: string;
  }
  export interface TaskOptions<P, O> {
    id: string;
    queue?: Queue | { concurrencyLimit?: number };
    machine?: Machine;
    maxDuration?: number;
    retry?: { maxAttempts?: number };
    run: (payload: P, params: { ctx: Context; signal: AbortSignal }) => Promise<O>;
    onStartAttempt?: (params: { payload: P; ctx: Context }) => Promise<void> | void;
    onSuccess?: (params: { payload: P; output: O; ctx: Context }) => Promise<void> | void;
    onFailure?: (params: { payload: P; error: unknown; ctx: Context }) => Promise<void> | void;
    onComplete?: (params: { payload: P; result: Result<O>; ctx: Context }) => Promise<void> | void;
    catchError?: (params: { payload: P; error: unknown; ctx: Context }) =>
      | Promise<{ skipRetrying: boolean } | void>
      | void;
  }
  export interface Task<P, O> {
    id: string;
    trigger(payload: P, options?: TriggerOptions): Promise<Handle>;
    triggerAndWait(payload: P, options?: TriggerOptions): Promise<Result<O>>;
    batchTrigger(items: { payload: P; options?: TriggerOptions }[]): Promise<{ batchId: string }>;
  }
  export function task<P, O>(options: TaskOptions<P, O>): Task<P, O>;
  export function queue(options: Queue): Queue;
  export const tasks: {
    trigger(id: string, payload: unknown, options?: TriggerOptions): Promise<Handle>;
    onStartAttempt(hook: (params: { payload: unknown; ctx: Context }) => Promise<void> | void): void;
    onSuccess(
      hook: (params: { payload: unknown; output: unknown; ctx: Context }) => Promise<void> | void,
    ): void;
    onFailure(
      hook: (params: { payload: unknown; error: unknown; ctx: Context }) => Promise<void> | void,
    ): void;
    catchError(
      hook: (params: { payload: unknown; error: unknown; ctx: Context }) => Promise<void> | void,
    ): void;
  };
  export const schedules: {
    task<O>(
      options: Omit<TaskOptions<{ timestamp: Date }, O>, "queue"> & {
        cron?: string | { pattern: string; timezone?: string; window?: string };
      },
    ): Task<{ timestamp: Date }, O>;
    create(options: {
      task: string;
      cron: string;
      deduplicationKey: string;
      window?: string;
    }): Promise<{ id: string }>;
  };
  export const metadata: {
    set(key: string, value: unknown): void;
    replace(value: Record<string, unknown>): void;
  };
  export const streams: {
    pipe<T>(
      key: string,
      value: AsyncIterable<T> | ReadableStream<T>,
      options?: { signal?: AbortSignal },
    ): { stream: AsyncIterable<T>; waitUntilComplete: () => Promise<void> };
  };
  export const wait: { for(options: { seconds?: number; minutes?: number }): Promise<void> };
  export const logger: { info(message: string, properties?: unknown): void };
  export interface Config {
    project: string;
    runtime?: "node" | "node-22" | "node-24" | "node-26" | "bun-1.4";
    maxDuration: number;
    dirs?: string[];
    tsconfig?: string;
    processKeepAlive?: boolean;
    build?: { extensions?: { name: string }[]; external?: string[]; minify?: boolean };
  }
  export function defineConfig(config: Config): Config;
}

declare module "@trigger.dev/build/extensions/prisma" {
  export function prismaExtension(
    options:
      | { mode: "legacy"; schema: string; migrate?: boolean }
      | { mode: "engine-only" }
      | { mode: "modern" },
  ): { name: string };
}

declare module "@trigger.dev/react-hooks" {
  interface Options {
    accessToken?: string;
    baseURL?: string;
    enabled?: boolean;
  }
  export function useRealtimeRun<T = unknown>(
    id?: string,
    options?: Options,
  ): { run: { id: string; status: string } | undefined; error: Error | undefined; of?: T };
  export function useRealtimeStream<T>(
    id: string,
    key: string,
    options?: Options,
  ): { parts: T[]; error: Error | undefined };
}

declare namespace JSX {
  interface IntrinsicElements {
    [name: string]: unknown;
  }
}
