"""The vendor's own client, for `scripts/bench/emit.py`: what an emit costs without Turnout."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import inngest


@contextlib.asynccontextmanager
async def emitting(
    settings: Mapping[str, str], payload: Mapping[str, Any]
) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """Send as the official SDK does."""
    base = settings["INNGEST_BASE_URL"]
    client = inngest.Inngest(
        app_id="bench",
        is_production=False,
        api_base_url=base,
        event_api_base_url=base,
        event_key=settings.get("INNGEST_EVENT_KEY", "bench"),
    )
    yield lambda: client.send(inngest.Event(name="agent/run.requested", data=payload))
