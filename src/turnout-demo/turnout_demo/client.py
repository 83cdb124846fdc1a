"""The demo's own client: starts runs over HTTP, each once, whatever dies in between."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from turnout.errors import Unavailable
from turnout_demo.tasks import AgentRequest

PATIENCE = 40.0
"""Seconds for which a call is tried again: the service may have been killed."""


class ServiceClient:
    """Calls the example service; every start has a key, so that trying again is harmless."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(
            base_url=url,
            timeout=httpx.Timeout(10, pool=None),  # hundreds of requests wait for their turn
            limits=httpx.Limits(max_connections=20),
            trust_env=False,
        )

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def start(self, request: AgentRequest, key: str) -> str:
        """Start an agent run; its id."""
        answer = await self._call("POST", "/runs", json=request.model_dump(), params={"key": key})
        return str(answer["run_id"])

    async def emit(self, name: str, payload: Mapping[str, Any]) -> Sequence[str]:
        """Emit an event; the ids of the runs that it started."""
        answer = await self._call("POST", f"/events/{name}", json=dict(payload))
        return [str(run_id) for run_id in answer["runs"]]

    async def show(self, run_id: str) -> dict[str, Any]:
        """Read where a run stands."""
        return await self._call("GET", f"/runs/{run_id}")

    async def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        last = "no answer"
        for _ in range(int(PATIENCE / 0.1)):
            try:
                answer = await self._http.request(method, path, **options)
                if answer.is_success:
                    value: dict[str, Any] = answer.json()
                    return value
                last = f"HTTP {answer.status_code}: {answer.text[:200]}"
                if answer.is_client_error:
                    break
            except httpx.HTTPError as error:
                last = f"{type(error).__name__}: {error}"
            await asyncio.sleep(0.1)
        raise Unavailable(f"{method} {path}: {last}")
