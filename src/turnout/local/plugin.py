"""The entry points of the embedded providers."""

from dataclasses import dataclass

from turnout.local.caller import LocalCaller
from turnout.model.time import Millis
from turnout.ports.caller import PORT_VERSION, DurableCaller, Surroundings


@dataclass(frozen=True, kw_only=True)
class LocalPlugin:
    """`local`, or `memory`: the same on a run store in memory, which the composition root gives."""

    name: str
    port_version: int = PORT_VERSION
    alarm_grace: Millis = 0
    """The pump is the only alarm."""

    def open(self, surroundings: Surroundings) -> DurableCaller:
        """Make the caller."""
        return LocalCaller(self.name, surroundings)


local = LocalPlugin(name="local")
memory = LocalPlugin(name="memory")
