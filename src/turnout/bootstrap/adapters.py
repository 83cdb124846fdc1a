"""Adapters: found by entry point, loaded by name, one at a time."""

from turnout.bootstrap.providers import EMBEDDED, GROUP, installed, selected
from turnout.bootstrap.settings import Settings
from turnout.errors import IncompatibleAdapter, UnknownProvider
from turnout.model.routing import Selection
from turnout.ports.caller import PORT_VERSION, Plugin

__all__ = ["EMBEDDED", "GROUP", "installed", "load", "select"]


def load(name: str) -> Plugin:
    """Load one adapter; UnknownProvider names those that are installed."""
    found = installed().get(name)
    if found is None:
        raise UnknownProvider(
            f"no adapter named {name!r} is installed; installed: {', '.join(installed())}"
        )
    plugin: Plugin = found.load()
    if plugin.port_version != PORT_VERSION:
        raise IncompatibleAdapter(
            f"the adapter {name!r} speaks version {plugin.port_version} of the port, this Turnout"
            f" version {PORT_VERSION}; upgrade whichever is lower"
        )
    return plugin


def select(settings: Settings) -> Selection:
    """Say which providers new runs go to; every name is checked to be installed."""
    return selected(
        settings.provider,
        primary=settings.primary,
        shadow=settings.shadow,
        production=settings.production,
    )
