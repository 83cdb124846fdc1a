"""The command line: `turnout-audit`, and the same commands as `turnout audit`."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from turnout_audit.cli.audit import audit, exit_code
from turnout_audit.cli.plain import plain_options

if TYPE_CHECKING:
    import typer

BROKEN_PIPE, INTERRUPTED = 1, 130
"""Exit codes, as typer has them."""


def commands(desk: object) -> "typer.Typer":
    """Return the commands to `turnout`; they need nothing of its desk."""
    from turnout_audit.cli.group import app

    del desk
    return app


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; one that only asks for an audit is read without typer."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = plain_options(words)
    if options is None:
        from turnout_audit.cli.group import app

        app(words, prog_name="turnout-audit")
    else:
        raise SystemExit(_guarded(lambda: exit_code(lambda: audit(options))))


def _guarded(command: Callable[[], int]) -> int:
    """Run a command to its end, also where nobody reads its output any more."""
    try:
        code = command()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the exit flushes again
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    return code
