declare module "db" {
  export function save(row: unknown): Promise<void>;
  export function completion(prompt: string): Promise<AsyncIterable<string>>;
}
