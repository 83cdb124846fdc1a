"""The ASGI application: routes, keys, and the engine's life."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from turnout.errors import StoreUnavailable
from turnout_inngest_double import (
    api_connect,
    api_events,
    api_steps,
    api_v1,
    api_v2,
    gql,
    registration,
    signing,
)
from turnout_inngest_double.clock import Clock
from turnout_inngest_double.engine import Engine
from turnout_inngest_double.options import Options
from turnout_inngest_double.replies import BadBody, engine_of, reply, v2_error

NOT_SERVED = (
    "/v1/realtime/{rest:path}",
    "/v1/checkpoint",
    "/v1/checkpoint/{run}/steps",
    "/v1/http/runs/{run}/output",
    "/v1/runs/{run}/metadata",
    "/v1/cancellations",
)
"""Realtime, functions that are endpoints of an API, metadata, and cancellation in bulk."""

Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(options: Options, clock: Clock | None = None) -> Starlette:
    """The server as an ASGI application; its engine opens and closes with the lifespan."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        engine = Engine(options, clock or Clock())
        app.state.engine = engine
        engine.open()
        poller = asyncio.get_running_loop().create_task(registration.poll(engine))
        yield
        poller.cancel()
        await engine.close()

    return Starlette(
        routes=_routes(options),
        lifespan=lifespan,
        exception_handlers={
            BadBody: _bad_body,
            StoreUnavailable: _unavailable,
            404: _no_route,
            405: _no_method,
        },
    )


def _routes(options: Options) -> list[BaseRoute]:
    routes = [*_open_routes(), *_v1_routes()]
    for prefix in ("/v2", "/api/v2"):
        routes += _v2_routes(prefix)
    if options.test_clock:
        routes.append(_route("POST", "/test/clock", api_v1.move_clock))
    marked = [_with_kind(route) for route in routes]
    return [*marked, WebSocketRoute(api_connect.PATH, api_connect.gateway)]


def _open_routes() -> list[Route]:
    """Routes that no key protects: on the vendor's self-hosted server neither."""
    return [
        _route("POST", "/e/{key}", api_events.post_events),
        _route("POST", "/invoke/{slug:path}", api_v1.invoke_slug),
        _route("POST", "/v0/gql", gql.post_gql),
        _route("GET", "/health", api_v1.get_health),
        _route("GET", "/dev", api_v1.get_dev),
    ]


def _v1_routes() -> list[Route]:
    return [
        _keyed("POST", "/fn/register", registration.post_register),
        _keyed("POST", "/v0/connect/start", api_connect.start),
        _keyed("POST", "/v0/connect/flush", api_connect.flush),
        _keyed("GET", "/v0/connect/envs/{env}/conns", api_connect.list_workers),
        _keyed("GET", "/v0/runs/{run}/batch", api_v1.get_batch),
        _keyed("GET", "/v0/runs/{run}/actions", api_v1.get_actions),
        _keyed("GET", "/v1/runs/{run}", api_v1.get_run),
        _keyed("DELETE", "/v1/runs/{run}", api_v1.delete_run),
        _keyed("GET", "/v1/runs/{run}/jobs", api_v1.list_jobs),
        _keyed("GET", "/v1/events", api_v1.list_events),
        _keyed("GET", "/v1/events/{event}", api_v1.get_event),
        _keyed("GET", "/v1/events/{event}/runs", api_v1.list_event_runs),
        _keyed("GET", "/v1/apps/{app}/functions", api_v1.list_functions),
        _keyed("POST", "/v1/checkpoint/{run}/async", api_steps.post_checkpoint),
        _keyed("POST", "/v1/signals", api_steps.post_signal),
        *(
            _keyed(method, path, api_steps.refuse)
            for path in NOT_SERVED
            for method in ("GET", "POST")
        ),
    ]


def _v2_routes(prefix: str) -> list[Route]:
    app = f"{prefix}/apps/{{app}}"
    run = f"{prefix}/runs/{{run}}"
    function = f"{app}/functions/{{function:path}}"
    return [
        _keyed("POST", f"{prefix}/events", api_v2.post_event),
        _keyed("GET", f"{prefix}/events/{{event}}/runs", api_v2.list_event_runs),
        _keyed("GET", f"{prefix}/runs", api_v2.list_runs),
        _keyed("GET", run, api_v2.get_run),
        _keyed("GET", f"{run}/trace", api_v2.get_trace),
        _keyed("POST", f"{run}/cancel", api_v2.cancel_run),
        _keyed("POST", f"{run}/rerun", api_v2.rerun),
        _keyed("GET", f"{prefix}/apps", api_v2.list_apps),
        _keyed("GET", app, api_v2.get_app),
        _keyed("POST", f"{app}/syncs", api_v2.not_offered),
        _keyed("GET", f"{app}/functions", api_v2.list_functions),
        _keyed("GET", f"{function}/runs", api_v2.list_function_runs),
        _keyed("POST", f"{function}/invoke", api_v2.invoke),
        _keyed("GET", function, api_v2.get_function),
    ]


def _route(method: str, path: str, endpoint: Endpoint) -> Route:
    return Route(path, endpoint, methods=[method])


def _keyed(method: str, path: str, endpoint: Endpoint) -> Route:
    """A route that needs the signing key where the server has one."""

    async def checked(request: Request) -> Response:
        key = engine_of(request).options.signing_key
        if key and not signing.accepts(key, request.headers.get("authorization")):
            return Response("Authentication failed", 401, media_type="text/plain")
        return await endpoint(request)

    return Route(path, checked, methods=[method])


def _with_kind(route: Route) -> Route:
    endpoint: Endpoint = route.endpoint

    async def marked(request: Request) -> Response:
        return _marked(await endpoint(request), request)

    return Route(route.path, marked, methods=list(route.methods or ()))


async def _bad_body(_request: Request, error: Exception) -> Response:
    return reply({"error": str(error), "status": 400}, 400)


async def _unavailable(_request: Request, error: Exception) -> Response:
    return reply({"error": f"cannot write: {error}", "status": 503}, 503)


async def _no_route(request: Request, _error: Exception) -> Response:
    """Answer for a path that is none; outside its APIs, the vendor's server says 200 to all."""
    if _is_v2(request):
        response = v2_error(404, "api_error", "Not Found")
    elif request.url.path.startswith(("/v0/", "/v1/")):
        response = Response("404 page not found\n", 404, media_type="text/plain")
    else:
        response = Response(status_code=200)
    return _marked(response, request)


async def _no_method(request: Request, _error: Exception) -> Response:
    is_v2 = _is_v2(request)
    no = v2_error(501, "api_error", "Method Not Allowed") if is_v2 else Response(status_code=405)
    return _marked(no, request)


def _is_v2(request: Request) -> bool:
    return request.url.path.startswith(("/v2/", "/api/v2/"))


def _marked(response: Response, request: Request) -> Response:
    response.headers["x-inngest-server-kind"] = engine_of(request).options.kind
    return response
