declare module "inngest-free" {
  export const inngest: string;
}
type Sdk = typeof import("inngest");
export type Client = import("inngest").Inngest;
