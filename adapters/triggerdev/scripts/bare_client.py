"""The vendor's own way, for `scripts/bench/emit.py`: what an emit costs without Turnout."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import httpx


@contextlib.asynccontextmanager
async def emitting(
    settings: Mapping[str, str], payload: Mapping[str, Any]
) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """Trigger as its SDK does: one POST on a kept connection."""
    headers = {"authorization": f"Bearer {settings['TRIGGER_SECRET_KEY']}"}
    async with httpx.AsyncClient(
        base_url=settings["TRIGGER_API_URL"], headers=headers, trust_env=False
    ) as client:

        async def trigger() -> None:
            response = await client.post(
                "/api/v1/tasks/agent-run/trigger", json={"payload": payload, "options": {}}
            )
            response.raise_for_status()

        yield trigger
