"""Who calls: an environment's secret key, a public token of it, or a personal access token."""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from turnout_triggerdev_double.server.errors import problem, refused
from turnout_triggerdev_double.server.ids import bare
from turnout_triggerdev_double.server.records import Environment
from turnout_triggerdev_double.server.world import OfflineWorld

ALGORITHM = "HS256"
ISSUER = {"iss": "https://id.trigger.dev", "aud": "https://api.trigger.dev"}
SEE = " See https://trigger.dev/docs/frontend/overview#authentication for more information."
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


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicToken:
    """What a public token says of its bearer."""

    text: str
    scopes: tuple[str, ...]
    one_time: bool
    skip_columns: tuple[str, ...]

    def allows(self, action: str, resources: Iterable[str]) -> bool:
        """Whether a scope covers one of the resources, each `type` or `type:id`.

        A scope is `action:type:id`; without the id it covers all of the type. `write` covers
        `trigger` and `batchTrigger`, too.
        """
        actions = {action, "*"} | ({"write"} if action in {"trigger", "batchTrigger"} else set())
        resources = list(resources)
        return any(_covers(scope, actions, resources) for scope in self.scopes)


def _covers(scope: str, actions: set[str], resources: list[str]) -> bool:
    if scope == "admin":
        return True
    action, _, target = scope.partition(":")
    kind = target.partition(":")[0]
    return action in actions and (
        kind == "all" or any(target in {r, r.partition(":")[0]} for r in resources)
    )


def public_token(world: OfflineWorld, token: str) -> tuple[Environment, PublicToken]:
    """The environment of a public token, and what the token allows."""
    env, claims = _verified(world, token)
    if float(claims.get("exp", "inf")) * 1000 < world.now():
        raise refused(401, f"Public Access Token has expired.{SEE}")
    skipped = (claims.get("realtime") or {}).get("skipColumns")
    return env, PublicToken(
        text=token,
        scopes=tuple(map(str, claims.get("scopes") or ())),
        one_time=bool(claims.get("otu")),
        skip_columns=tuple(map(str, skipped or ())),
    )


def use_once(world: OfflineWorld, token: PublicToken | None, deed: str) -> None:
    """Use a public token for one use up. Refuses it the second time."""
    if token is None or not token.one_time:
        return
    if token.text in world.used_tokens:
        used = "with a one-time use token as it has already been used."
        raise refused(422, f"Cannot {deed} {used}")
    world.used_tokens.add(token.text)


def new_jwt(world: OfflineWorld, env: Environment, claims: dict[str, Any]) -> str:
    """A public token of the environment, good for an hour unless the claims have an `exp`."""
    now = world.now() // 1000
    issued = {"iat": now, "exp": claims.get("exp", now + 3600)}
    return jwt.encode({"alg": ALGORITHM}, {**ISSUER, **claims, **issued}, _key(env))


def _verified(world: OfflineWorld, token: str) -> tuple[Environment, dict[str, Any]]:
    """The environment that signed the token, and the token's claims."""
    try:
        subject = orjson.loads(jws.extract_compact(token.encode()).payload)["sub"]
        env = next(env for env in world.environments if bare(env.id) == subject)
        return env, jwt.decode(token, _key(env), [ALGORITHM]).claims
    except (JoseError, ValueError, TypeError, KeyError, StopIteration) as error:
        raise refused(401, f"Public Access Token is invalid.{SEE}") from error


def _key(env: Environment) -> OctKey:
    return OctKey.import_key(env.key)
