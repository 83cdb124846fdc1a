"""The entry point of the adapter."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from turnout.model.adoption import Adoption
from turnout.model.time import Millis
from turnout.ports.caller import PORT_VERSION, DurableCaller, Surroundings
from turnout_inngest.settings import read_settings


@dataclass(frozen=True, kw_only=True)
class InngestPlugin:
    """Opens the caller; the vendor's SDK is imported only once the settings are whole."""

    name: str = "inngest"
    port_version: int = PORT_VERSION
    alarm_grace: Millis = 120_000
    """A call that fails as a wait ends is made again by the vendor's table: 15 s, 30 s, 1 m, …."""

    def open(self, surroundings: Surroundings) -> DurableCaller:
        """Make the live caller; InvalidSettings names every setting that is missing or wrong."""
        settings = read_settings(
            surroundings.settings, surroundings.service_url, deployed=surroundings.production
        )
        from turnout_inngest.caller import InngestCaller

        return InngestCaller(surroundings, settings)

    def examine(self, client: Any) -> Sequence[Adoption] | None:
        """Say what becomes of the functions of an `inngest.Inngest` client that are loaded."""
        from turnout_inngest.adoption import examine

        return examine(client)


plugin = InngestPlugin()
