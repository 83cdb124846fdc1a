"""Payloads and outputs that are too large for a body: stored and read at URLs of this server."""

import hmac

from starlette.responses import Response

from turnout_triggerdev_double.server.errors import refused
from turnout_triggerdev_double.server.packets import address, seal
from turnout_triggerdev_double.server.wiring import ApiCall, answer


def where_to_put(call: ApiCall) -> Response:
    """`PUT /api/v2/packets/{name}` and `PUT /api/v1/packets/{name}`."""
    name = str(call.params["name"])
    url = address(call.world, call.env, name)
    return answer({"presignedUrl": url, "storagePath": name})


def where_to_fetch(call: ApiCall) -> Response:
    """`GET /api/v1/packets/{name}`."""
    return answer({"presignedUrl": address(call.world, call.env, str(call.params["name"]))})


def put(call: ApiCall) -> Response:
    """`PUT /packets/{seal}/{name}`; it is read with the content type that it is written with."""
    kind = call.headers.get("content-type") or "application/octet-stream"
    call.world.store.put_packet(_checked(call), call.body, kind)
    return Response(status_code=200)


def fetch(call: ApiCall) -> Response:
    """`GET /packets/{seal}/{name}`."""
    packet = call.world.store.packet(_checked(call))
    if packet is None:
        raise refused(404, "Not found")
    body, kind = packet
    return Response(body, headers={"content-type": kind})


def _checked(call: ApiCall) -> str:
    name = str(call.params["name"])
    for env in call.world.environments:
        if hmac.compare_digest(seal(env, name), str(call.params["seal"])):
            return f"{env.id}/{name}"
    raise refused(403, "Forbidden")
