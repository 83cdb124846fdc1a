"""Every command of `turnout` by name; none is imported before it is called."""

COMMANDS: dict[str, tuple[str, str]] = {
    "serve": ("turnout.cli.serve:app", "Serve an app: step endpoint, provider endpoints, pump."),
    "work": ("turnout.cli.work:app", "Run steps and the pump, without an endpoint."),
    "emit": ("turnout.cli.emit:app", "Emit an event: every subscribed task starts once."),
}
"""Name → (module:attribute of its Typer app, the line that --help shows)."""

DISTRIBUTIONS: dict[str, tuple[str, str]] = {
    "runs": ("turnout-operator", "List, show and cancel runs; rebuild their artifacts."),
    "schedules": ("turnout-operator", "List schedules, and what is armed."),
    "deadletters": ("turnout-operator", "List events that a door refused; emit them again."),
    "provider": ("turnout-operator", "Show which provider new runs go to."),
    "doctor": ("turnout-operator", "Check everything, and name the next command."),
    "adopt": ("turnout-operator", "Say what becomes of functions of a vendor's own SDK."),
    "status": ("turnout-cutover", "Show a move: stages, what is open where, the next command."),
    "move": ("turnout-cutover", "Change which provider gets the new runs of tasks."),
    "rollback": ("turnout-cutover", "Send new runs to the old provider again, verified."),
    "plan": ("turnout-cutover", "Say of every step to come whether it would pass now."),
    "inventory": ("turnout-cutover", "List what is armed at a provider, and compare later."),
    "retire": ("turnout-cutover", "Say whether a provider may be given up, and what is left."),
    "drill": ("turnout-cutover", "Go to the new provider and back with a probe, timed."),
    "drain": ("turnout-cutover", "Say what is still at a provider, by both lists."),
    "history": ("turnout-cutover", "List who changed routes, when and why."),
    "reconcile": (
        "turnout-tracking",
        "Compare the run store with the providers' lists; repair it.",
    ),
    "parity": ("turnout-parity", "Compare runs with their shadows."),
    "dev": ("turnout-dev", "Start the offline servers of the installed providers."),
    "audit": ("turnout-audit", "Find every trace of a vendor, and prove that there is none."),
    "demo": ("turnout-demo", "See the whole journey between two providers, offline."),
}
"""Commands that other distributions of this project add.

Name → (the distribution, the line that --help shows). A distribution's folder is `src/<its name>`.
"""
