"""Adapters: found by entry point, loaded by name, one at a time."""

from importlib.metadata import EntryPoint, entry_points

from turnout.bootstrap.settings import Settings
from turnout.errors import IncompatibleAdapter, InvalidSettings, UnknownProvider
from turnout.model.routing import DUAL, Selection
from turnout.ports.caller import PORT_VERSION, Plugin

GROUP = "turnout.orchestrators"
EMBEDDED = ("local", "memory")
"""Ours; all others are vendors'."""


def installed() -> dict[str, EntryPoint]:
    """Find the installed adapters, by provider name; nothing is imported."""
    return {
        each.name: each for each in sorted(entry_points(group=GROUP), key=lambda each: each.name)
    }


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
    if settings.provider is None and settings.production:
        raise InvalidSettings(
            "ORCHESTRATOR_PROVIDER is not set, and TURNOUT_ENV is production; set it to one of:"
            f" {', '.join(installed())}, {DUAL}"
        )
    if settings.provider == DUAL:
        selection = Selection(
            provider=DUAL, primary=settings.primary, shadow=settings.shadow or _other(settings)
        )
    else:
        selection = Selection(provider=settings.provider or "local")
    for name in selection.names:
        if name not in installed():
            load(name)
    return selection


def _other(settings: Settings) -> str | None:
    """The only vendor beside the primary, where there is only one."""
    others = [each for each in installed() if each not in (*EMBEDDED, settings.primary)]
    return others[0] if len(others) == 1 else None
