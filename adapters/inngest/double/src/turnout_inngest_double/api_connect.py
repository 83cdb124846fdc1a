"""`/v0/connect/…`: how workers find and use the gateway."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from turnout_inngest_double.engine import Engine
from turnout_inngest_double.replies import body_of, engine_of, reply

PATH = "/v0/connect"


async def start(request: Request) -> Response:
    """Where to connect to, and the token to show there."""
    engine = engine_of(request)
    url = request.url
    scheme = "wss" if url.scheme == "https" else "ws"
    place = f"{url.hostname}:{engine.options.gateway_port or url.port or engine.options.port}"
    answer = engine.gateway.admit(f"{scheme}://{place}{PATH}")
    return Response(answer, media_type="application/protobuf")


async def list_workers(request: Request) -> Response:
    """Who is connected now."""
    return reply({"data": engine_of(request).gateway.connected()})


async def flush(request: Request) -> Response:
    """Take in a reply that did not get through the worker's socket."""
    try:
        answer = engine_of(request).gateway.flush(await body_of(request))
    except ValueError as error:
        return reply({"error": str(error), "status": 400}, 400)
    return Response(answer, media_type="application/protobuf")


async def gateway(socket: WebSocket) -> None:
    """One worker's socket."""
    engine = socket.app.state.engine
    assert isinstance(engine, Engine)
    await engine.gateway.serve(socket)
