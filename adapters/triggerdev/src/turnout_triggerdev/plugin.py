"""The entry point: opens the caller from the vendor's own settings."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from turnout.errors import InvalidSettings
from turnout.model.time import Millis
from turnout.ports.caller import PORT_VERSION, DurableCaller, Surroundings
from turnout_triggerdev.settings import read_settings, release_after


@dataclass(frozen=True, kw_only=True)
class TriggerdevPlugin:
    """Trigger.dev v4, cloud or self-hosted, by its REST API.

    The HTTP client is imported only once the settings are whole.
    """

    name: str = "triggerdev"
    port_version: int = PORT_VERSION
    alarm_grace: Millis = 5_000

    def release_after(self, settings: Mapping[str, str]) -> Millis | None:
        """How long a vendor run may wait until its run is released; None: its slot is freed."""
        with contextlib.suppress(InvalidSettings):  # reported where the caller is opened
            return release_after(settings)
        return None

    def open(self, surroundings: Surroundings) -> DurableCaller:
        """Make the caller; InvalidSettings names every setting that is missing or wrong."""
        settings = read_settings(surroundings.settings, deployed=surroundings.production)
        from turnout_triggerdev.caller import TriggerdevCaller

        return TriggerdevCaller(surroundings, settings)


plugin = TriggerdevPlugin()
