"""The ASGI application of a service, to run by itself or to mount into another one."""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

import turnout.model
from turnout.ports.caller import Receives, Serves
from turnout.service.process import Turnout
from turnout.service.stop_signals import stop_signals
from turnout.web.events import EventStreams
from turnout.web.steps import StepEndpoint

_OPENAPI: Final = Path(turnout.model.__file__).parent / "schemas" / "protocol-1.openapi.json"


def asgi(turnout: Turnout) -> Starlette:
    """Make the application of a service; its lifespan starts and stops the pump and the callers."""
    return Starlette(routes=routes(turnout), lifespan=lifespan(turnout))


def lifespan(turnout: Turnout) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """Return the lifespan for an application that mounts `routes` itself (FastAPI, Starlette)."""

    @contextlib.asynccontextmanager
    async def run(_app: Any) -> AsyncIterator[None]:
        async with turnout:
            with stop_signals(turnout.begin_stop):
                yield

    return run


def routes(turnout: Turnout) -> list[BaseRoute]:
    """List the routes: step endpoint, OpenAPI, health, event streams, adapters' applications."""
    steps = StepEndpoint(turnout.worker, turnout.settings.signing_keys)

    async def health(_request: Request) -> JSONResponse:
        return JSONResponse(await turnout.health())

    async def describe(_request: Request) -> Response:
        return Response(_OPENAPI.read_bytes(), media_type="application/json")

    token = turnout.settings.events_token
    events = (
        None
        if token is None
        else EventStreams(turnout.store.journals, token, stopping=lambda: turnout.stopping)
    )
    served = [caller for caller in turnout.callers.values() if isinstance(caller, Serves)]
    receiving = [caller for caller in turnout.callers.values() if isinstance(caller, Receives)]
    return [
        Route("/turnout/v1/step", steps.answer, methods=["POST"]),
        Route("/turnout/v1/openapi.json", describe),
        Route("/turnout/health", health),
        *([Route("/turnout/runs/{run_id}/events", events.answer)] if events else []),
        *(Mount(caller.mount, app=caller.asgi()) for caller in served),
        *(Mount(path, app=app) for caller in receiving for path, app in caller.doors().items()),
    ]
