await save({ source_system: "inngest", room: 4 });
// actor: "inngest"
