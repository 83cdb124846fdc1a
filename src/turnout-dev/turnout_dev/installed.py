"""The offline servers that are installed, found by entry point."""

from importlib.metadata import entry_points

from turnout_dev.devserver import DevServer

GROUP = "turnout.devservers"
PROVIDERS = "turnout.orchestrators"


def devservers() -> dict[str, DevServer]:
    """Load every installed offline server, by provider name, in order of names."""
    entries = sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
    return {entry.name: entry.load()() for entry in entries}


def devserver(name: str) -> DevServer | None:
    """Load the offline server of a provider; None where none is installed."""
    for entry in entry_points(group=GROUP, name=name):
        server: DevServer = entry.load()()
        return server
    return None


def without_devserver() -> list[str]:
    """Name the installed providers that have no offline server; those of the runtime need none."""
    adapters = {
        entry.name
        for entry in entry_points(group=PROVIDERS)
        if entry.dist is None or entry.dist.name != "turnout"
    }
    return sorted(adapters - {entry.name for entry in entry_points(group=GROUP)})
