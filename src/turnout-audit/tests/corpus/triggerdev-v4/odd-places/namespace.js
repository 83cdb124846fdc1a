import * as trigger from "@trigger.dev/sdk/v3";

export const spaced = trigger.task({
  id: "spaced",
  onSuccess: async function (payload, /* what run gave */ output, { ctx }) {
    trigger.metadata.save({ output, run: ctx.run.id });
  },
  "onStart": ({ ctx }) => console.log(ctx),
  run: async (payload, { ctx }) => {
    for await (const part of await trigger.metadata.stream("k", payload)) console.log(part);
    return ctx.attempt["id"];
  },
});

const onSuccess = (payload, output) => [payload, output];
export const other = { onSuccess, handleError: (a, b) => [a, b] };
