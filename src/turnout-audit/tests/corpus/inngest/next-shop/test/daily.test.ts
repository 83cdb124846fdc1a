import { InngestTestEngine } from "@inngest/test";
import { describe, expect, it, vi } from "vitest";
import { daily } from "../src/inngest/functions";

vi.mock("inngest", () => ({ Inngest: vi.fn() }));

describe("the inngest function", () => {
  it("sends what inngest asks for", async () => {
    const engine = new InngestTestEngine({ function: daily });
    expect(await engine.execute()).toBeTruthy();
    expect("inngest/function.failed").toMatch(/inngest/);
  });
});
