"""Commands that an adapter adds: `turnout <provider> …`, by entry point `turnout.commands`.

The entry point has the provider's name, and names a function that makes a Typer app from a `Desk`;
where the commands need no desk, it names the app itself.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn, Protocol

from turnout.model.tasks import App


class Desk(Protocol):
    """What an added command works with: settings, the app, and ways to answer."""

    def settings(self) -> Mapping[str, str]:
        """Return the environment over `.env` over `turnout.toml`, by name."""
        ...

    def service_url(self, override: str | None) -> str:
        """Return the service's own address: the override, else TURNOUT_SERVICE_URL."""
        ...

    def app(self, name: str | None) -> App:
        """Load the app named module:attribute, else TURNOUT_APP; InvalidSettings says why not."""
        ...

    def show(self, value: Mapping[str, Any], *, as_json: bool, lines: Iterable[str]) -> None:
        """Print the result: as one JSON object, or as lines."""
        ...

    def tell(self, line: str) -> None:
        """Print a line of progress on stderr."""
        ...

    def fail(self, message: str) -> NoReturn:
        """Say in one line what is wrong and what to do, and end with exit code 2."""
        ...


Commands = Callable[[Desk], Any]
"""What the entry point names: makes the adapter's Typer app."""
