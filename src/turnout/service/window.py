"""Recording, beside the artifacts, from when to when new runs get a shadow."""

import logging

from turnout.dualrun.window import close_window, open_window
from turnout.errors import TurnoutError
from turnout.model.time import Millis
from turnout.ports.artifact_store import ArtifactStore
from turnout.ports.clock import Clock

log = logging.getLogger(__name__)


async def mark_window(artifacts: ArtifactStore, clock: Clock, *, lag: Millis | None) -> None:
    """Open the window of a dual run with this lag, or close it (None); a failure is logged."""
    try:
        if lag is None:
            await close_window(artifacts, clock.now())
        else:
            await open_window(artifacts, clock.now(), lag=lag)
    except (TurnoutError, ValueError) as error:
        log.warning(
            "the window of the dual run could not be written beside the artifacts",
            extra={"action": "window", "error": str(error)},
        )
