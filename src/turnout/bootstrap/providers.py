"""Which adapters are installed, and which of them new runs go to."""

from importlib.metadata import EntryPoint, entry_points

from turnout.errors import InvalidSettings, UnknownProvider
from turnout.model.routing import DUAL, Selection

GROUP = "turnout.orchestrators"
EMBEDDED = ("local", "memory")
"""Ours; all others are vendors'."""


def installed() -> dict[str, EntryPoint]:
    """Find the installed adapters, by provider name; nothing is imported."""
    return {
        each.name: each for each in sorted(entry_points(group=GROUP), key=lambda each: each.name)
    }


def selected(
    provider: str | None, *, primary: str | None, shadow: str | None, production: bool
) -> Selection:
    """Say which providers new runs go to; UnknownProvider names all that are not installed."""
    known = installed()
    if provider is None and production:
        raise InvalidSettings(
            "ORCHESTRATOR_PROVIDER is not set, and TURNOUT_ENV is production; set it to one of:"
            f" {', '.join(known)}, {DUAL}"
        )
    if provider == DUAL:
        selection = Selection(provider=DUAL, primary=primary, shadow=shadow or _other(primary))
    else:
        selection = Selection(provider=provider or "local")
    unknown = [repr(name) for name in selection.names if name not in known]
    if unknown:
        raise UnknownProvider(
            f"no adapter named {' or '.join(unknown)} is installed; installed: {', '.join(known)}"
        )
    return selection


def _other(primary: str | None) -> str | None:
    """The only vendor beside the primary, where there is only one."""
    others = [each for each in installed() if each not in (*EMBEDDED, primary)]
    return others[0] if len(others) == 1 else None
