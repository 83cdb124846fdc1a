"use client";
import { useInngestSubscription } from "@inngest/realtime/hooks";

export const Progress = ({ token }: { token: string }) => {
  const { data } = useInngestSubscription({ token });
  return <pre>{JSON.stringify(data)}</pre>;
};
