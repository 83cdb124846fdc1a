"""Other distributions add routes to a service by entry point."""

from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest
from starlette.routing import Route

from turnout import App, open_turnout
from turnout.errors import InvalidSettings
from turnout.web import app

SETTINGS = {"ORCHESTRATOR_PROVIDER": "memory", "TURNOUT_ARTIFACTS": "none"}


def added(_service: Any) -> list[Route]:
    """Return a route, as another distribution does."""
    return [Route("/added", lambda _request: None)]


def install(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    """Make these the only entry points of the group."""
    entries = EntryPoints(EntryPoint(name, value, app.GROUP) for name, value in values.items())
    monkeypatch.setattr(app, "entry_points", lambda group: entries.select(group=group))


async def test_an_installed_distribution_adds_its_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry point names a function of the service."""
    install(monkeypatch, ours=f"{__name__}:added")
    async with open_turnout(App(name="routes", tasks=()), SETTINGS, serve=False) as live:
        assert "/added" in {getattr(route, "path", None) for route in app.routes(live)}


async def test_a_token_without_the_streams_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to install."""
    install(monkeypatch)
    settings = {**SETTINGS, "TURNOUT_EVENTS_TOKEN": "0123456789abcdef"}
    async with open_turnout(App(name="routes", tasks=()), settings, serve=False) as live:
        with pytest.raises(InvalidSettings, match=r"pip install 'turnout\[events\]'"):
            app.routes(live)
