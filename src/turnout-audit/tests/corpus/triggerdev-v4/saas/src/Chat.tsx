import { useRealtimeRunWithStreams } from "@trigger.dev/react-hooks";
import type { chat } from "../trigger/stream";

type Streams = { openai: string; log: { line: string } };

export function Chat({ id, token }: { id: string; token: string }) {
  const { run, error, streams } = useRealtimeRunWithStreams<typeof chat, Streams>(id, {
    accessToken: token,
  });
  if (error) return <p>{error.message}</p>;
  return (
    <section title={run?.status}>
      <p>{streams.openai.join("")}</p>
      <ul>{streams.log?.map((one) => <li>{one.line}</li>)}</ul>
      <Upload onSuccess={(file: string, response: number) => console.log(file, response)} />
    </section>
  );
}

function Upload({ onSuccess }: { onSuccess: (file: string, response: number) => void }) {
  return <button onClick={() => onSuccess("a", 1)}>Upload</button>;
}
