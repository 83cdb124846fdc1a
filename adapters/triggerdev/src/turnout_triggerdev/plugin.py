"""The entry point: opens the caller from the vendor's own settings."""

from dataclasses import dataclass

from turnout.ports.caller import PORT_VERSION, DurableCaller, Surroundings
from turnout_triggerdev.caller import TriggerdevCaller
from turnout_triggerdev.settings import read_settings


@dataclass(frozen=True, kw_only=True)
class TriggerdevPlugin:
    """Trigger.dev v4, cloud or self-hosted, by its REST API."""

    name: str = "triggerdev"
    port_version: int = PORT_VERSION

    def open(self, surroundings: Surroundings) -> DurableCaller:
        """Make the caller; InvalidSettings names every setting that is missing or wrong."""
        return TriggerdevCaller(surroundings, read_settings(surroundings.settings))


plugin = TriggerdevPlugin()
