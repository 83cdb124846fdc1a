"""Adapters: found by entry point, loaded by name, one at a time."""

import logging
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points

from turnout.errors import IncompatibleAdapter, InvalidSettings, LaptopSetting, UnknownProvider
from turnout.model.routing import DUAL, Selection
from turnout.ports.caller import PORT_VERSION, DurableCaller, Plugin, Surroundings
from turnout.service.settings import Settings

log = logging.getLogger(__name__)

GROUP = "turnout.orchestrators"
EMBEDDED = ("local", "memory")
"""The providers that run in our own process; all others are vendors'."""


def installed() -> dict[str, EntryPoint]:
    """Find the installed adapters, by provider name in alphabetical order; none is imported."""
    return {entry.name: entry for entry in sorted(entry_points(group=GROUP), key=_name)}


def load(name: str) -> Plugin:
    """Load one adapter; UnknownProvider names those that are installed."""
    adapters = installed()
    if name not in adapters:
        raise UnknownProvider(
            f"no adapter named {name!r} is installed; installed: {', '.join(adapters)}"
        )
    plugin: Plugin = adapters[name].load()
    if plugin.port_version != PORT_VERSION:
        raise IncompatibleAdapter(
            f"the adapter {name!r} speaks version {plugin.port_version} of the port, this Turnout"
            f" version {PORT_VERSION}; upgrade whichever is lower"
        )
    return plugin


def select(settings: Settings) -> Selection:
    """Decide which providers new runs go to; UnknownProvider for one that is not installed."""
    return select_by_names(
        settings.provider,
        primary=settings.primary,
        shadow=settings.shadow,
        production=settings.production,
    )


def select_by_names(
    provider: str | None, *, primary: str | None, shadow: str | None, production: bool
) -> Selection:
    """Decide which providers new runs go to, from the texts of the settings."""
    adapters = installed()
    if provider is None and production:
        raise InvalidSettings(
            "ORCHESTRATOR_PROVIDER is not set, and TURNOUT_ENV is not development; set it to one"
            f" of: {', '.join(adapters)}, {DUAL}"
        )
    if provider == DUAL:
        shadow = shadow or _only_vendor(primary)
        selection = Selection(provider=DUAL, primary=primary, shadow=shadow)
    else:
        selection = Selection(provider=provider or "local")
    unknown = [repr(name) for name in selection.names if name not in adapters]
    if unknown:
        raise UnknownProvider(
            f"no adapter named {' or '.join(unknown)} is installed;"
            f" installed: {', '.join(adapters)}"
        )
    return selection


def load_plugins(selection: Selection) -> dict[str, Plugin]:
    """Load the selected adapters, and every other adapter that can be imported.

    An adapter that is not selected is loaded so that the runs which it has can finish.

    InvalidSettings where a selected adapter lacks a package.
    """
    plugins: dict[str, Plugin] = {}
    for name in installed():
        is_selected = name in selection.names
        if not is_selected and (name == "memory" or "memory" in selection.names):
            continue
        try:
            plugins[name] = load(name)
        except ImportError as error:
            if is_selected:
                raise InvalidSettings(str(error)) from None
            _log_unused(name, error)
    return plugins


def open_callers(
    plugins: Mapping[str, Plugin], surroundings: Surroundings, selection: Selection
) -> dict[str, DurableCaller]:
    """Open the selected adapters, and every other adapter whose settings are complete.

    InvalidSettings names what all selected adapters lack, and what any adapter refuses to take
    outside of development.
    """
    callers: dict[str, DurableCaller] = {}
    faults: list[str] = []
    for name, plugin in plugins.items():
        try:
            callers[name] = plugin.open(surroundings)
        except (InvalidSettings, ImportError) as error:
            if name in selection.names or isinstance(error, LaptopSetting):
                faults.append(str(error))
            _log_unused(name, error)
    if faults:
        raise InvalidSettings("; ".join(faults))
    return callers


def _log_unused(name: str, error: Exception) -> None:
    log.debug(
        "an adapter is installed and not set up",
        extra={"action": "open", "provider": name, "error": str(error)},
    )


def _name(entry: EntryPoint) -> str:
    return entry.name


def _only_vendor(primary: str | None) -> str | None:
    """Return the only vendor beside the primary; None: there is none, or no primary.

    InvalidSettings names the vendors where there are several.
    """
    vendors = [name for name in installed() if name not in (*EMBEDDED, primary)]
    if primary is not None and len(vendors) > 1:
        raise InvalidSettings(
            f"ORCHESTRATOR_PROVIDER={DUAL}: say in ORCHESTRATOR_SHADOW who runs the shadows:"
            f" {' or '.join(vendors)}"
        )
    return vendors[0] if primary is not None and len(vendors) == 1 else None
