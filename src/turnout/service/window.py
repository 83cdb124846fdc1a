"""The window of a dual run, beside the artifacts, for the parity check.

A run that was emitted outside of every span has no shadow, and needs none.
"""

import logging
from collections.abc import Sequence

from turnout.errors import ArtifactMissing, TurnoutError
from turnout.model.parity_window import WINDOW_KEY, Span, WindowDocument
from turnout.model.time import Millis, as_datetime
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


async def open_window(artifacts: ArtifactStore, now: Millis, *, lag: Millis) -> None:
    """Begin a span that states the lag, unless such a span is open."""
    document = await _read(artifacts)
    spans = document.spans or ()
    if any(span.until is None and span.lag_ms == lag for span in spans):
        return
    opened = Span(since=as_datetime(now), lag_ms=lag)
    await _write(artifacts, document, (*_closed(spans, now), opened))


async def close_window(artifacts: ArtifactStore, now: Millis) -> None:
    """End the open span, if there is one: from now on new runs get no shadow."""
    document = await _read(artifacts)
    spans = document.spans or ()
    if any(span.until is None for span in spans):
        await _write(artifacts, document, _closed(spans, now))


def _closed(spans: Sequence[Span], now: Millis) -> tuple[Span, ...]:
    return tuple(
        span if span.until else span.model_copy(update={"until": as_datetime(now)})
        for span in spans
    )


async def _read(artifacts: ArtifactStore) -> WindowDocument:
    try:
        body = (await artifacts.get(WINDOW_KEY)).body
    except ArtifactMissing:
        return WindowDocument.model_validate({"schema": "turnout/parity-window@1", "spans": ()})
    return WindowDocument.model_validate_json(body)


async def _write(
    artifacts: ArtifactStore, document: WindowDocument, spans: tuple[Span, ...]
) -> None:
    body = document.model_copy(update={"spans": spans}).model_dump_json(by_alias=True)
    await artifacts.put(WINDOW_KEY, body.encode(), mode="overwrite")
