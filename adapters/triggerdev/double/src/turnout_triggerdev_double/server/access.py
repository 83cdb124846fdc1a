"""Who calls: an environment's secret key, a public token of it, or a personal access token."""

import hmac
from collections.abc import Iterable
from typing import Any

import orjson
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from turnout_triggerdev_double.server.errors import ApiRefusal, problem, refused
from turnout_triggerdev_double.server.ids import bare
from turnout_triggerdev_double.server.records import Environment
from turnout_triggerdev_double.server.world import OfflineWorld

ALGORITHM = "HS256"
ISSUER = {"iss": "https://id.trigger.dev", "aud": "https://api.trigger.dev"}
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


def environment_of_key(
    world: OfflineWorld, token: str, complaint: str = "Invalid API key"
) -> Environment:
    """The environment of a secret key."""
    for env in world.environments:
        if hmac.compare_digest(env.key.encode(), token.encode()):
            return env
    raise refused(401, complaint)


def is_access_token(world: OfflineWorld, token: str) -> bool:
    """Whether this is the user's personal access token."""
    return hmac.compare_digest(world.project.access_token.encode(), token.encode())


def is_jwt(token: str) -> bool:
    """Whether the token looks like a public one."""
    return token.count(".") == 2  # noqa: PLR2004 header, claims, signature


def environment_of_jwt(world: OfflineWorld, token: str, scopes: Iterable[str]) -> Environment:
    """The environment of a public token that carries one of these scopes."""
    env, claims = _verified(world, token)
    if float(claims.get("exp", "inf")) * 1000 < world.now():
        raise refused(401, "Public Access Token has expired")
    if not set(claims.get("scopes") or []) & set(scopes):
        raise ApiRefusal(403, FORBIDDEN)
    return env


def new_jwt(world: OfflineWorld, env: Environment, claims: dict[str, Any]) -> str:
    """A public token of the environment, good for an hour."""
    now = world.now() // 1000
    issued = {"iat": now, "exp": now + 3600}
    return jwt.encode({"alg": ALGORITHM}, {**ISSUER, **claims, **issued}, _key(env))


def _verified(world: OfflineWorld, token: str) -> tuple[Environment, dict[str, Any]]:
    """The environment that signed the token, and the token's claims."""
    try:
        subject = orjson.loads(jws.extract_compact(token.encode()).payload)["sub"]
        env = next(env for env in world.environments if bare(env.id) == subject)
        return env, jwt.decode(token, _key(env), [ALGORITHM]).claims
    except (JoseError, ValueError, TypeError, KeyError, StopIteration) as error:
        raise refused(401, "Invalid API key") from error


def _key(env: Environment) -> OctKey:
    return OctKey.import_key(env.key)
