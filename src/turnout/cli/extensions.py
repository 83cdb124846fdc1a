"""Commands that other distributions add: `turnout <provider> …`, `turnout dev`, and more."""

import os
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from turnout.cli.command_table import DISTRIBUTIONS
from turnout.cli.exits import fail
from turnout.cli.output import print_json
from turnout.errors import TurnoutError

if TYPE_CHECKING:
    from turnout.model.tasks import App
    from turnout.ports.commands import Commands
    from turnout.service.settings import Settings

GROUP = "turnout.commands"


def extensions() -> dict[str, EntryPoint]:
    """Find the commands of other distributions, by name; none is imported."""
    entries = sorted(entry_points(group=GROUP), key=attrgetter("name"))
    return {entry.name: entry for entry in entries}


def find_extension(name: str) -> EntryPoint | None:
    """Find a command of another distribution; where the table names its owner, read that alone."""
    if name not in DISTRIBUTIONS:
        return extensions().get(name)
    try:
        entries = distribution(DISTRIBUTIONS[name][0]).entry_points
    except PackageNotFoundError:
        return None
    return next(iter(entries.select(group=GROUP, name=name)), None)


def load_extension(entry: EntryPoint) -> typer.Typer:
    """Import a command, giving a function its `Desk`; exit code 2 where there is no Typer app."""
    commands: typer.Typer | Commands = entry.load()
    group = commands if isinstance(commands, typer.Typer) else commands(CliDesk())
    if not isinstance(group, typer.Typer):
        fail(f"the adapter {entry.name!r} gives no Typer app for its commands")
    return group


class CliDesk:
    """The `Desk` of a command on this terminal."""

    def settings(self) -> Mapping[str, str]:
        """Return what the environment, `.env` and `turnout.toml` say."""
        return _settings().raw

    def service_url(self, override: str | None) -> str:
        """Return the address; exit code 2 where it is not set or not valid."""
        from turnout.bootstrap.settings_faults import service_fault

        url = override or _settings().service_url
        if url is None:
            fail("where is the service? set TURNOUT_SERVICE_URL, or give --service")
        fault = service_fault(url)
        if fault is not None:
            fail(f"--service {fault}")
        return url.rstrip("/")

    def app(self, name: str | None) -> "App":
        """Load the app, or stop with its fault."""
        from turnout.bootstrap.user_code import load_app

        try:
            return load_app(name or _settings().app)
        except TurnoutError as error:
            fail(str(error))

    def show(self, value: Mapping[str, Any], *, as_json: bool, lines: Iterable[str]) -> None:
        """Print the result on stdout."""
        if as_json:
            print_json(value)
        else:
            sys.stdout.writelines(f"{line}\n" for line in lines)

    def tell(self, line: str) -> None:
        """Print a line on stderr."""
        typer.echo(line, err=True)

    def fail(self, message: str) -> NoReturn:
        """Stop with exit code 2."""
        fail(message)


def _settings() -> "Settings":
    from turnout.bootstrap.settings import read_settings

    try:
        return read_settings(os.environ)
    except TurnoutError as error:
        fail(str(error))
