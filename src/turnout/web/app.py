"""The ASGI application of a service, to run by itself or to mount into another one."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

import turnout.model
from turnout.errors import InvalidSettings
from turnout.ports.caller import Receives, Serves
from turnout.service.process import Turnout
from turnout.service.stop_signals import stop_signals
from turnout.web.steps import StepEndpoint

_OPENAPI: Final = Path(turnout.model.__file__).parent / "schemas" / "protocol-1.openapi.json"

GROUP = "turnout.routes"
"""The group of entry points; each is a function of the service that returns its routes."""


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
    """List the routes: step endpoint, OpenAPI, health, added ones, adapters' applications."""
    steps = StepEndpoint(turnout.worker, turnout.settings.signing_keys)

    async def health(_request: Request) -> JSONResponse:
        return JSONResponse(await turnout.health())

    async def describe(_request: Request) -> Response:
        return Response(_OPENAPI.read_bytes(), media_type="application/json")

    served = [caller for caller in turnout.callers.values() if isinstance(caller, Serves)]
    receiving = [caller for caller in turnout.callers.values() if isinstance(caller, Receives)]
    return [
        Route("/turnout/v1/step", steps.answer, methods=["POST"]),
        Route("/turnout/v1/openapi.json", describe),
        Route("/turnout/health", health),
        *_added_routes(turnout),
        *(Mount(caller.mount, app=caller.asgi()) for caller in served),
        *(Mount(path, app=app) for caller in receiving for path, app in caller.doors().items()),
    ]


def _added_routes(turnout: Turnout) -> Iterator[BaseRoute]:
    """Yield the routes that other distributions add by entry point."""
    entries = entry_points(group=GROUP)
    if turnout.settings.events_token is not None and "events" not in entries.names:
        raise InvalidSettings(
            "TURNOUT_EVENTS_TOKEN: to stream events, pip install 'turnout[events]',"
            " or ./src/turnout-events in a checkout"
        )
    for entry in entries:
        yield from entry.load()(turnout)
