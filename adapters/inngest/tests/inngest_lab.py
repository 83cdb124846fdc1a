"""A real offline server and a real application, each on its own socket, in the test's loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import fastapi
import httpx
import inngest
import inngest.fast_api
from local_ports import free_port, serving
from turnout_inngest_double.app import create_app
from turnout_inngest_double.options import Options

HOUR_MS = 3_600_000


class Lab:
    """A server, an application that uses the official SDK, and a client of the server's API."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.url = f"http://127.0.0.1:{options.port}"
        self.api = httpx.AsyncClient(base_url=self.url, timeout=10)
        self.client = self.sdk("lab")
        self.functions: list[inngest.Function[Any]] = []

    def sdk(self, app_id: str, **settings: Any) -> inngest.Inngest:
        settings = {"is_production": False, **settings}
        return inngest.Inngest(
            app_id=app_id, api_base_url=self.url, event_api_base_url=self.url, **settings
        )

    @contextlib.asynccontextmanager
    async def server(self) -> AsyncIterator[None]:
        async with serving(create_app(self.options), self.options.port):
            yield

    @contextlib.asynccontextmanager
    async def application(self) -> AsyncIterator[str]:
        """Serve the functions and register them; the application's address."""
        app, port = fastapi.FastAPI(), free_port()
        inngest.fast_api.serve(app, self.client, self.functions)
        async with serving(app, port):
            address = f"http://127.0.0.1:{port}/api/inngest"
            registered = await self.api.put(address)
            assert registered.json()["ok"] is True, registered.text
            yield address

    def function(self, fn_id: str, **config: Any) -> Callable[[Any], inngest.Function[Any]]:
        """Define a function; triggered by `lab/<fn_id>` and tried once unless said otherwise."""
        config.setdefault("trigger", inngest.TriggerEvent(event=f"lab/{fn_id}"))
        config.setdefault("retries", 0)

        def define(handler: Any) -> inngest.Function[Any]:
            function = self.client.create_function(fn_id=fn_id, **config)(handler)
            self.functions.append(function)
            return function

        return define

    async def emit(self, name: str, data: dict[str, Any] | None = None, **more: Any) -> str:
        event = {"name": name, "data": data or {}, **more}
        answer = (await self.api.post("/e/key", json=event)).json()
        return str(answer["ids"][0])

    async def runs(self, event_id: str) -> list[dict[str, Any]]:
        answer = await self.api.get(f"/v2/events/{event_id}/runs?includeOutput=true")
        return list(answer.json().get("data", []))

    async def run(self, event_id: str) -> dict[str, Any]:
        runs = await self.runs(event_id)
        assert len(runs) == 1, runs
        return runs[0]

    async def run_in(self, event_id: str, *statuses: str) -> dict[str, Any]:
        """The event's one run, once it has one of the statuses."""
        found: dict[str, Any] = await until(lambda: self._run_in(event_id, statuses))
        return found

    async def _run_in(self, event_id: str, statuses: tuple[str, ...]) -> dict[str, Any] | None:
        runs = await self.runs(event_id)
        return runs[0] if runs and runs[0]["status"] in statuses else None

    async def advance(self, ms: int) -> None:
        """Time passes for the server."""
        answer = await self.api.post("/test/clock", json={"advance_ms": ms})
        assert answer.status_code == 200

    async def trace(self, run_id: str) -> dict[str, Any]:
        answer = await self.api.get(f"/v2/runs/{run_id}/trace?includeOutput=true")
        return dict(answer.json()["data"]["rootSpan"])


async def until(look: Callable[[], Awaitable[Any]]) -> Any:
    """What `look` finds, as soon as it finds something."""
    async with asyncio.timeout(60):
        while (found := await look()) is None:
            await asyncio.sleep(0.01)
    return found
