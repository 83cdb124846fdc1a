"""The window that a dual run writes down."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from turnout_parity.window import read_window

from turnout.model.time import moment
from turnout.ports.artifact_store import ArtifactStore
from turnout.service.window import close_window, open_window
from turnout.stores.artifacts import open_store

NOW = 1_770_000_000_000


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ArtifactStore]:
    """Give an empty folder store."""
    opened = open_store(str(tmp_path / "artifacts"))
    yield opened
    await opened.aclose()


async def spans(store: ArtifactStore) -> list[Any]:
    """List the spans in milliseconds after NOW, with their lags."""
    return [
        (moment(each.since) - NOW, each.until and moment(each.until) - NOW, each.lag_ms)
        for each in (await read_window(store)).spans or ()
    ]


async def test_a_window_states_the_lag(store: ArtifactStore) -> None:
    """A restart with the same lag goes on with the same span; its end is written once."""
    await open_window(store, NOW, lag=5_000)
    await open_window(store, NOW + 10, lag=5_000)
    assert await spans(store) == [(0, None, 5_000)]
    await close_window(store, NOW + 20)
    await close_window(store, NOW + 30)
    assert await spans(store) == [(0, 20, 5_000)]


async def test_another_lag_begins_another_span(store: ArtifactStore) -> None:
    """Without a gap: every run needs a twin all the same."""
    await open_window(store, NOW, lag=5_000)
    await open_window(store, NOW + 10, lag=7_000)
    assert await spans(store) == [(0, 10, 5_000), (10, None, 7_000)]
