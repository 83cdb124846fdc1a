"""`turnout`: the table of commands, each imported only when it is called."""

import sys
from collections.abc import Sequence

COMMANDS: dict[str, tuple[str, str]] = {
    "serve": ("turnout.cli.serve:app", "Serve an app: step endpoint, provider endpoints, pump."),
    "work": ("turnout.cli.work:app", "Run steps and the pump, without an endpoint."),
    "emit": ("turnout.cli.emit:app", "Emit an event: every subscribed task starts once."),
    "runs": ("turnout.cli.runs:app", "List, show and cancel runs; rebuild their artifacts."),
    "schedules": ("turnout.cli.schedules:app", "List schedules, and what is armed."),
    "provider": ("turnout.cli.provider:app", "Show which provider new runs go to."),
    "parity": ("turnout.cli.parity:app", "Compare runs with their shadows."),
    "doctor": ("turnout.cli.doctor:app", "Check everything, and name the next command."),
    "adopt": ("turnout.cli.adopt:app", "Say what becomes of functions of a vendor's own SDK."),
    "audit": ("turnout.cli.audit_app:app", "Find every trace of a vendor, and prove it is gone."),
}
"""Name → (module:attribute of its Typer app, the line that --help shows)."""


SUBCOMMANDS = ("history", "check")
"""Words behind `audit` that are commands of their own, not rule sets."""


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    An audit stands in commit hooks, and typer takes longer to import than the audit of a small
    tree: where its words are plain, it starts without.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words[:1] == ["audit"] and not set(words[1:2]) & set(SUBCOMMANDS):
        from turnout.cli.audit import find
        from turnout.cli.plain import run_plainly

        run_plainly(find, words[1:])
    from turnout.cli.commands import app

    app(arguments)
