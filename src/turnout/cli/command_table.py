"""Every command of `turnout` by name; none is imported before it is called."""

COMMANDS: dict[str, tuple[str, str]] = {
    "serve": ("turnout.cli.serve:app", "Serve an app: step endpoint, provider endpoints, pump."),
    "work": ("turnout.cli.work:app", "Run steps and the pump, without an endpoint."),
    "emit": ("turnout.cli.emit:app", "Emit an event: every subscribed task starts once."),
    "deadletters": (
        "turnout.cli.deadletters:app",
        "List events that were refused at a door; emit them again.",
    ),
    "runs": ("turnout.cli.runs:app", "List, show and cancel runs; rebuild their artifacts."),
    "schedules": ("turnout.cli.schedules:app", "List schedules, and what is armed."),
    "provider": ("turnout.cli.provider:app", "Show which provider new runs go to."),
    "doctor": ("turnout.cli.doctor:app", "Check everything, and name the next command."),
    "adopt": ("turnout.cli.adopt:app", "Say what becomes of functions of a vendor's own SDK."),
}
"""Name → (module:attribute of its Typer app, the line that --help shows)."""
DISTRIBUTIONS = {
    "audit": "turnout-audit",
    "demo": "turnout-demo",
    "dev": "turnout-dev",
    "parity": "turnout-parity",
}
"""Commands that other distributions of this project add: name → what to install."""
