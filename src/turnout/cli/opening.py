"""What a command opens: the run store alone, or all live objects of an app."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turnout.ports.run_store import RunStore
    from turnout.service.process import Turnout


@asynccontextmanager
async def opened_store() -> "AsyncIterator[RunStore]":
    """Open the run store that the settings name; no app and no adapter is imported."""
    from turnout.bootstrap.settings import read_settings
    from turnout.bootstrap.stores import open_primary_store
    from turnout.cli.logs import show_logs

    settings = read_settings(os.environ)
    show_logs()
    store = open_primary_store(settings)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def opened(app: str | None, *, serve: bool = False) -> "AsyncIterator[Turnout]":
    """Open the live objects of the named app; without `serve` nothing is called or pumped."""
    from turnout.bootstrap.live import open_turnout
    from turnout.bootstrap.settings import read_settings
    from turnout.bootstrap.user_code import load_app
    from turnout.cli.logs import show_logs

    settings = read_settings(os.environ)
    loaded = load_app(app or settings.app)
    show_logs()
    async with open_turnout(loaded, settings=settings, serve=serve) as live:
        yield live
