"""From an HTTP request to a handler and back: authentication, rate limit, body."""

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

import orjson
from starlette.datastructures import Headers, QueryParams
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from turnout_triggerdev_double.server import access
from turnout_triggerdev_double.server.errors import ApiRefusal, refused
from turnout_triggerdev_double.server.rates import TokenBuckets
from turnout_triggerdev_double.server.records import Environment
from turnout_triggerdev_double.server.world import OfflineWorld

log = logging.getLogger(__name__)

JSON_TYPE = "application/json; charset=utf-8"
MAX_BODY = 3 * 1024 * 1024
MAX_STREAM = 64 * 1024 * 1024


@dataclass(slots=True, kw_only=True)
class ApiCall:
    """One request, read and authorised."""

    world: OfflineWorld
    env: Environment
    params: Mapping[str, Any]
    query: QueryParams
    headers: Headers
    body: bytes
    origin: str
    token: access.PublicToken | None = None
    """The public token of the caller; None for a caller with a key."""
    action: str = "read"
    """What the caller does, in the words of public tokens."""

    @property
    def api_version(self) -> str | None:
        """The API version that the caller speaks."""
        return self.headers.get("x-trigger-api-version")

    def json(self) -> Any:
        """The body as JSON. Refuses an empty or a broken one."""
        if not self.body.strip():
            raise refused(400, "Request body is empty")
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError as error:
            raise refused(400, "Invalid JSON") from error

    def fields(self) -> dict[str, Any]:
        """The body as a JSON object; an empty body counts as an empty object."""
        value = self.json() if self.body.strip() else {}
        if not isinstance(value, dict):
            raise refused(400, "Validation error: Expected object")
        return value


Handler = Callable[[ApiCall], Response | Awaitable[Response]]
Resources = Callable[[ApiCall], Iterable[str] | None]
"""What a call concerns, each `type` or `type:id`; None: every token of the environment will do."""


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(orjson.dumps(value), status, media_type=JSON_TYPE, headers=headers)


@dataclass(frozen=True, slots=True)
class ApiMethod:
    """How one method of a path is answered."""

    handler: Handler
    _: KW_ONLY
    caller: str = "key"
    """`key` (an environment's key), `user` (a personal access token, or a key), or `anyone`."""
    action: str = "read"
    """What a public token must allow."""
    concerns: Resources | None = None
    """On which of these it must allow that; where there is nothing, public tokens are refused."""
    limited: bool = True
    """Whether calls count in the rate limit."""
    max_body: int = MAX_BODY
    """Bytes of the largest body."""
    complaint: str = "Invalid API key"
    """The text of the refusal of a wrong key."""
    plain_405: bool = False
    """Whether other methods of this path get an empty answer."""


class Resource:
    """All methods of one path, as an ASGI application."""

    def __init__(
        self, world: OfflineWorld, rates: TokenBuckets, methods: Mapping[str, ApiMethod]
    ) -> None:
        self._world = world
        self._rates = rates
        self._methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; its changes are on disk before the answer is sent."""
        request = Request(scope, receive)
        limits: dict[str, str] = {}
        try:
            response = await self._respond(request, limits)
        except ApiRefusal as refusal:
            response = _refusal(refusal)
        except ClientDisconnect:
            return
        except Exception:
            # The outermost edge: one request fails, the server goes on.
            log.exception("a request failed", extra={"action": "request", "path": request.url.path})
            response = answer({"error": "Something went wrong"}, 500)
        for name, value in limits.items():
            response.headers.setdefault(name, value)
        await self._world.store.committed()
        await response(scope, receive, send)

    async def _respond(self, request: Request, limits: dict[str, str]) -> Response:
        method = self._methods.get(request.method)
        if method is None:
            _, any_method = next(iter(self._methods.items()))
            limits |= self._limit(request, any_method)
            raise _not_allowed(request.method, self._methods)
        limits |= self._limit(request, method)
        env, token = self._caller(request, method)
        call = ApiCall(
            world=self._world,
            env=env,
            params=request.path_params,
            query=request.query_params,
            headers=request.headers,
            body=await _body(request, method.max_body),
            origin=self._world.project.url,
            token=token,
            action=method.action,
        )
        _authorise(call, method)
        result = method.handler(call)
        return await result if inspect.isawaitable(result) else result

    def _limit(self, request: Request, method: ApiMethod) -> dict[str, str]:
        if not method.limited or method.caller == "anyone":
            return {}
        token = access.bearer(request.headers.get("authorization"))
        return self._rates.take(token, self._world.now())

    def _caller(
        self, request: Request, method: ApiMethod
    ) -> tuple[Environment, access.PublicToken | None]:
        world = self._world
        if method.caller == "anyone":
            return world.environments[0], None
        token = access.bearer(request.headers.get("authorization"))
        if method.caller == "user" and access.is_access_token(world, token):
            return world.environments[0], None
        if method.concerns is not None and access.is_jwt(token):
            return access.public_token(world, token)
        return access.environment_of_key(world, token, method.complaint), None


def _authorise(call: ApiCall, method: ApiMethod) -> None:
    if call.token is None or method.concerns is None:
        return
    resources = method.concerns(call)
    if resources is not None and not call.token.allows(method.action, resources):
        raise ApiRefusal(403, access.FORBIDDEN)


def _refusal(refusal: ApiRefusal) -> Response:
    if isinstance(refusal.body, str):
        return PlainTextResponse(refusal.body, refusal.status, headers=refusal.headers)
    return answer(refusal.body, refusal.status, headers=refusal.headers)


def _not_allowed(method: str, methods: Mapping[str, ApiMethod]) -> ApiRefusal:
    """The real server's refusal of a method: an empty body for a trigger, else an odd one."""
    if any(allowed.plain_405 for allowed in methods.values()):
        return ApiRefusal(405, "", headers={"allow": ", ".join(methods)})
    status = 400 if method == "GET" else 405
    return ApiRefusal(status, {"message": "Unexpected Server Error"})


async def _body(request: Request, max_body: int) -> bytes:
    if request.method in {"GET", "HEAD"}:
        return b""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > max_body:
            raise refused(413, "Request body too large")
        parts.append(part)
    return b"".join(parts)
