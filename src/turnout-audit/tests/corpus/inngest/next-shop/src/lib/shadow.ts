import { createFunction } from "./factory";

interface Queue {
  send(message: string): void;
}

export function publish(inngest: Queue): void {
  inngest.send("order");
  const job = createFunction("inngest");
  console.log(`import { Inngest } from "inngest" as ${job}`);
}

export const sample = `
  import { serve } from "inngest/next";
  export default serve(client);
`;
export const doc = { inngest: true, link: "https://github.com/inngest/inngest-js" };
