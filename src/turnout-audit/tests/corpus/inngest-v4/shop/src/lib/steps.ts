import { Inngest, referenceFunction } from "inngest";

const client = new Inngest({ id: "steps", signingKey: process.env.KEY });

export const race = client.createFunction({ id: "race", triggers: [] }, async ({ step, group }) => {
  const winner = await Promise.race([
    step.run("a", () => "a"),
    step.waitForEvent("b", { event: "b", timeout: "1h" }),
  ]);
  await group.parallel(async () => Promise.race([step.run("c", () => 1), step.run("d", () => 2)]));
  await Promise.race([fetch("https://a.example.com"), fetch("https://b.example.com")]);
  await step.invoke("report", {
    function: "shop-report",
    data: {},
  });
  await step.invoke("again", { function: referenceFunction({ functionId: "report" }) });
  return winner;
});

export const options = { id: "given" };
export const given = client.createFunction(options, { event: "x" }, async () => 1);
export const text = "inngest.createFunction(a, b, c)";
