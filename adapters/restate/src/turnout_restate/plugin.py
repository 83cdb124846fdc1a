"""The entry point of the adapter."""

from dataclasses import dataclass

from turnout.model.time import Millis
from turnout.ports.caller import PORT_VERSION, DurableCaller, Surroundings
from turnout_restate.settings import read_settings


@dataclass(frozen=True, kw_only=True)
class RestatePlugin:
    """Opens the caller; the vendor's SDK is imported only once the settings are whole."""

    name: str = "restate"
    port_version: int = PORT_VERSION
    alarm_grace: Millis = 2_000
    """The server's timers are exact to milliseconds; a call may wait in its queue."""

    def open(self, surroundings: Surroundings) -> DurableCaller:
        """Make the live caller; InvalidSettings names every setting that is missing or wrong."""
        settings = read_settings(
            surroundings.settings, surroundings.service_url, deployed=surroundings.production
        )
        from turnout_restate.caller import RestateCaller

        return RestateCaller(surroundings, settings)


plugin = RestatePlugin()
