"""Payloads and outputs that are too large for a body: stored and read at URLs of this server."""

import hashlib
import hmac

from starlette.responses import Response

from turnout_triggerdev_double.server.errors import refused
from turnout_triggerdev_double.server.wiring import ApiCall, answer


def _address(call: ApiCall, name: str) -> str:
    return f"{call.origin}/packets/{_seal(call, name)}/{name}"


def _seal(call: ApiCall, name: str) -> str:
    return hmac.new(call.env.key.encode(), name.encode(), hashlib.sha256).hexdigest()[:32]


def where_to_put(call: ApiCall) -> Response:
    """`PUT /api/v2/packets/{name}` and `PUT /api/v1/packets/{name}`."""
    name = str(call.params["name"])
    return answer({"presignedUrl": _address(call, name), "storagePath": name})


def where_to_fetch(call: ApiCall) -> Response:
    """`GET /api/v1/packets/{name}`."""
    return answer({"presignedUrl": _address(call, str(call.params["name"]))})


def put(call: ApiCall) -> Response:
    """`PUT /packets/{seal}/{name}`."""
    call.world.store.put_packet(_checked(call), call.body)
    return Response(status_code=200)


def fetch(call: ApiCall) -> Response:
    """`GET /packets/{seal}/{name}`."""
    body = call.world.store.packet(_checked(call))
    if body is None:
        raise refused(404, "Not found")
    return Response(body, media_type="application/json")


def _checked(call: ApiCall) -> str:
    name = str(call.params["name"])
    for env in call.world.environments:
        seal = hmac.new(env.key.encode(), name.encode(), hashlib.sha256).hexdigest()[:32]
        if hmac.compare_digest(seal, str(call.params["seal"])):
            return f"{env.id}/{name}"
    raise refused(403, "Forbidden")
