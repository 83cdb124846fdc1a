"""Who calls: an environment's secret key, a public token of it, or a personal access token."""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from typing import Any

import orjson

from turnout_triggerdev_double.server.errors import Refusal, problem, refused
from turnout_triggerdev_double.server.records import Environment
from turnout_triggerdev_double.server.world import World

FORBIDDEN = {
    "error": "Unauthorized",
    "code": "unauthorized",
    "param": "access_token",
    "type": "authorization",
}


def bearer(header: str | None) -> str:
    """The token of an authorization header."""
    if not header:
        detail = "No authorization header provided"
        raise problem(401, "Unauthorized", detail)
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else header


def environment_of_key(world: World, token: str, complaint: str = "Invalid API key") -> Environment:
    """The environment of a secret key."""
    for env in world.environments:
        if hmac.compare_digest(env.key.encode(), token.encode()):
            return env
    raise refused(401, complaint)


def is_access_token(world: World, token: str) -> bool:
    """Whether this is the user's personal access token."""
    return hmac.compare_digest(world.project.access_token.encode(), token.encode())


def is_jwt(token: str) -> bool:
    """Whether the token looks like a public one."""
    return token.count(".") == 2  # noqa: PLR2004 header, claims, signature


def environment_of_jwt(world: World, token: str, wanted: Iterable[str]) -> Environment:
    """The environment of a public token that carries one of the wanted scopes."""
    claims = _claims(token)
    env = next((e for e in world.environments if e.id.partition("_")[2] == claims.get("sub")), None)
    if env is None or not _signed(token, env.key):
        raise refused(401, "Invalid API key")
    if float(claims.get("exp", "inf")) * 1000 < world.now():
        raise refused(401, "Public Access Token has expired")
    scopes = set(claims.get("scopes") or [])
    if not scopes & set(wanted):
        raise Refusal(403, FORBIDDEN)
    return env


def new_jwt(world: World, env: Environment, claims: dict[str, Any]) -> str:
    """A public token of the environment, good for an hour."""
    now = world.now() // 1000
    body: dict[str, Any] = {"iss": "https://id.trigger.dev", "aud": "https://api.trigger.dev"}
    body |= {**claims, "iat": now, "exp": now + 3600}
    signed = f"{_encode({'alg': 'HS256'})}.{_encode(body)}"
    return f"{signed}.{_signature(signed, env.key)}"


def _claims(token: str) -> dict[str, Any]:
    try:
        part = token.split(".")[1]
        claims = orjson.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError as error:
        raise refused(401, "Invalid API key") from error
    return claims if isinstance(claims, dict) else {}


def _signed(token: str, key: str) -> bool:
    signed, _, signature = token.rpartition(".")
    return hmac.compare_digest(_signature(signed, key), signature)


def _signature(text: str, key: str) -> str:
    digest = hmac.new(key.encode(), text.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _encode(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(part)).rstrip(b"=").decode()
