"""`turnout`: the entry point of the command line."""

from collections.abc import Sequence


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; arguments: those of the process unless given."""
    from turnout.cli.command_group import app

    app(arguments)
