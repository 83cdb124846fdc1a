/** A service to talk to: a real server on loopback that answers as a test says. */
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { type Fields, fieldsOf } from "../src/turnout/json.js";

export interface Heard {
  readonly message: Fields;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** Settles when the caller hangs up before the answer. */
  readonly hungUp: Promise<void>;
}

export interface Reply {
  readonly status?: number;
  readonly body?: unknown;
}

export type Answers = (heard: Heard, at: number) => Reply | Promise<Reply>;

/** Serves while the work goes on, and gives it the origin and what was heard. */
export async function served<T>(
  answers: Answers,
  work: (origin: string, heard: readonly Heard[]) => Promise<T>,
): Promise<T> {
  const heard: Heard[] = [];
  const server = listening(answers, heard);
  await new Promise<void>((listens) => server.listen(0, "127.0.0.1", listens));
  const { port } = server.address() as AddressInfo;
  try {
    return await work(`http://127.0.0.1:${port}`, heard);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

function listening(answers: Answers, heard: Heard[]): Server {
  return createServer((request, response) => {
    const chunks: Buffer[] = [];
    const hungUp = new Promise<void>((closed) => response.once("close", closed));
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body = Buffer.concat(chunks).toString();
      const message = fieldsOf(JSON.parse(body), "message");
      const one = { message, headers: request.headers, body, hungUp };
      heard.push(one);
      void Promise.resolve(answers(one, heard.length)).then(({ status = 200, body: told }) => {
        response.writeHead(status, { "content-type": "application/json" });
        response.end(JSON.stringify(told ?? {}));
      });
    });
  });
}
