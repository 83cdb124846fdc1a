"""The window of a dual run, written down beside the artifacts for whoever compares them.

A run that was emitted outside of every span has no shadow, and needs none.
"""

from collections.abc import Sequence

from turnout.errors import ArtifactMissing
from turnout.model.time import Millis, as_datetime
from turnout.parity.window import WINDOW_KEY, Span, WindowDocument
from turnout.ports.artifact_store import ArtifactStore


async def open_window(artifacts: ArtifactStore, now: Millis, *, lag: Millis) -> None:
    """Begin a span that states the lag, unless such a one is open."""
    found = await _read(artifacts)
    spans = found.spans or ()
    if any(each.until is None and each.lag_ms == lag for each in spans):
        return
    ended = _ended(spans, now)
    await _write(artifacts, found, (*ended, Span(since=as_datetime(now), lag_ms=lag)))


async def close_window(artifacts: ArtifactStore, now: Millis) -> None:
    """End the span that is open, if there is one: new runs get no shadow any more."""
    found = await _read(artifacts)
    spans = found.spans or ()
    if any(each.until is None for each in spans):
        await _write(artifacts, found, _ended(spans, now))


def _ended(spans: Sequence[Span], now: Millis) -> tuple[Span, ...]:
    return tuple(
        each if each.until else each.model_copy(update={"until": as_datetime(now)})
        for each in spans
    )


async def _read(artifacts: ArtifactStore) -> WindowDocument:
    try:
        body = (await artifacts.get(WINDOW_KEY)).body
    except ArtifactMissing:
        return WindowDocument.model_validate({"schema": "turnout/parity-window@1", "spans": ()})
    return WindowDocument.model_validate_json(body)


async def _write(artifacts: ArtifactStore, found: WindowDocument, spans: tuple[Span, ...]) -> None:
    document = found.model_copy(update={"spans": spans})
    body = document.model_dump_json(by_alias=True).encode()
    await artifacts.put(WINDOW_KEY, body, mode="overwrite")
