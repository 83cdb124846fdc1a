"""The providers that are set up, by name, and which of them get new runs."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from turnout.errors import UnknownProvider
from turnout.model.routing import Selection
from turnout.ports.caller import DurableCaller


@dataclass(frozen=True, kw_only=True)
class Providers:
    """The live callers under one selection."""

    callers: Mapping[str, DurableCaller]
    """By name, every provider that may have runs."""
    selection: Selection
    embedded: Collection[str] = ()
    """Those that run in our own process: the run store knows all that they do."""

    def caller(self, name: str) -> DurableCaller:
        """Return a provider's caller; UnknownProvider names those that are live."""
        if name not in self.callers:
            raise UnknownProvider(
                f"no live adapter named {name!r}; live: {', '.join(self.callers)}"
            )
        return self.callers[name]

    def selected(self) -> Iterable[DurableCaller]:
        """Return the callers that may get new runs, the primary's first."""
        return [self.caller(name) for name in self.selection.names]
