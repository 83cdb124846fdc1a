import sdk = require("inngest");
const path = require.resolve("inngest/package.json");
jest.mock("inngest", () => ({}));
jest.mock("./inngest");
export = new sdk.Inngest({ id: path });
