"""How a command ends: its exit codes, and errors as one line on stderr."""

import asyncio
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

import typer

from turnout.cli.printable import printable
from turnout.errors import TurnoutError

Answer = TypeVar("Answer")

CLEAN, FOUND, UNSURE = 0, 1, 2
"""Exit codes: clean or PASS; findings or FAIL; could not tell, or wrong use."""

INTERRUPTED = 130
"""The exit code of a command that ^C ended."""


def run(work: Coroutine[Any, Any, Answer]) -> Answer:
    """Run a command's work; what goes wrong is one line on stderr and exit code 2."""
    try:
        return asyncio.run(work)
    except TurnoutError as error:
        fail(str(error))
    except OSError as error:
        fail(describe(error))
    except UnicodeEncodeError as error:  # an argument of the shell's that holds other bytes
        fail(f"{error.object!r} is not UTF-8")
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def describe(error: OSError) -> str:
    """Say in one line what the system refused, and for which file."""
    file = "" if error.filename is None else f"{error.filename}: "
    return f"{file}{error.strerror or error}"


def fail(message: str, code: int = UNSURE) -> NoReturn:
    """Say what is wrong, and stop with exit code 2, or another."""
    typer.secho(printable(f"turnout: {message}"), err=True, fg=typer.colors.RED)
    raise typer.Exit(code)
