"""`turnout <provider> …`: the commands that installed adapters add."""

import os
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from turnout.cli.shared import fail, print_json
from turnout.errors import TurnoutError

if TYPE_CHECKING:
    from turnout.model.tasks import App
    from turnout.ports.commands import Commands
    from turnout.service.settings import Settings

GROUP = "turnout.commands"


def found() -> dict[str, EntryPoint]:
    """Find the adapters that add commands, by name; none is imported."""
    return {each.name: each for each in sorted(entry_points(group=GROUP), key=lambda e: e.name)}


def load(entry: EntryPoint) -> typer.Typer:
    """Import an adapter's commands and give them their desk."""
    commands: Commands = entry.load()
    made = commands(CliDesk())
    if not isinstance(made, typer.Typer):
        fail(f"the adapter {entry.name!r} gives no Typer app for its commands")
    return made


class CliDesk:
    """The `Desk` of this process."""

    def settings(self) -> Mapping[str, str]:
        """Give what the environment, `.env` and `turnout.toml` say."""
        return _settings().raw

    def service_url(self, given: str | None) -> str:
        """Give the address, or stop and say where it is set; it is written where others read."""
        from turnout.bootstrap.settings_faults import service_fault

        url = given or _settings().service_url
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
