"""Public tokens: what clients put into those that they sign themselves, and tokens made here."""

import re
from typing import Any

from starlette.responses import Response

from turnout_triggerdev_double.server.access import new_jwt
from turnout_triggerdev_double.server.errors import refused
from turnout_triggerdev_double.server.ids import bare
from turnout_triggerdev_double.server.wiring import ApiCall, answer

LONGEST = 30 * 86_400
"""Seconds that a token is good for at most."""
_LENGTH = re.compile(r"^(\d+(?:\.\d+)?) ?(s|m|h|d|w|y)[a-z]*$", re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_557_600}


def claims(call: ApiCall) -> Response:
    """`POST /api/v1/auth/jwt/claims`: what a token signed with the caller's key says first."""
    return answer({"sub": bare(call.env.id), "pub": True})


def mint(call: ApiCall) -> Response:
    """`POST /api/v1/auth/public-tokens`: a token with these scopes, good for 15 minutes or so."""
    body = call.fields()
    scopes = body.get("scopes")
    if not isinstance(scopes, list) or not scopes or not all(isinstance(s, str) for s in scopes):
        raise refused(400, "Invalid request body")
    now = call.world.now() // 1000
    end = _end(body.get("expirationTime", "15m"), now)
    if end is None:
        raise refused(400, "Invalid expiration time")
    if end <= now:
        raise refused(400, "Expiration time must be in the future")
    if end - now > LONGEST:
        raise refused(400, "Expiration time cannot exceed 30 days")
    said: dict[str, Any] = {"sub": bare(call.env.id), "pub": True, "scopes": scopes, "exp": end}
    said |= {"otu": True} if body.get("oneTimeUse") else {}
    said |= {"realtime": body["realtime"]} if body.get("realtime") else {}
    return answer({"token": new_jwt(call.world, call.env, said)})


def _end(value: Any, now: int) -> int | None:
    if isinstance(value, int | float):
        return int(value)
    match = _LENGTH.match(str(value))
    return None if match is None else now + round(float(match[1]) * _SECONDS[match[2].lower()])
