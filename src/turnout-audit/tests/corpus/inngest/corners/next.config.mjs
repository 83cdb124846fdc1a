export default {
  serverExternalPackages: ["sharp", "inngest"],
  // transpilePackages: ["@inngest/agent-kit"],
};
