await save({ source_system: "trigger.dev", room: 4 });
// actor: "trigger.dev"
