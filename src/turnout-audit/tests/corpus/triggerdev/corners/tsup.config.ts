export default { external: ["@trigger.dev/sdk"] };
// noExternal: ["@trigger.dev/core"]
