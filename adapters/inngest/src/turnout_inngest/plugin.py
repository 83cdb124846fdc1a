"""The entry point of the adapter."""

from dataclasses import dataclass

from turnout.ports.caller import PORT_VERSION, DurableCaller, Surroundings
from turnout_inngest.settings import read_settings


@dataclass(frozen=True, kw_only=True)
class InngestPlugin:
    """Opens the caller; the vendor's SDK is imported only once the settings are whole."""

    name: str = "inngest"
    port_version: int = PORT_VERSION

    def open(self, surroundings: Surroundings) -> DurableCaller:
        """Make the live caller; InvalidSettings names every setting that is missing or wrong."""
        settings = read_settings(surroundings.settings, surroundings.service_url)
        from turnout_inngest.caller import InngestCaller

        return InngestCaller(surroundings, settings)


plugin = InngestPlugin()
