"""Calls the SDK in this process, by the protocol that the vendor's server speaks with it.

So everything that happens in a request (middleware, serializers, step ids, threads for sync
functions) is done by the SDK itself. Events of `step.send_event` are collected instead of sent: the
task emits them.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

import fastapi
import inngest
import inngest.fast_api
import orjson

from turnout.errors import TurnoutError
from turnout.model.ids import check_event_name
from turnout_inngest.adoption.answers import Answer, read
from turnout_inngest.adoption.sdk import serializer_of
from turnout_inngest.ingress import event_key
from turnout_inngest.settings import STARTS

PATH: Final = "/adopted"
ROOT: Final = "step"
"""What the protocol calls a request for whatever comes next."""
_SCOPE: Final = "turnout.sending"


@dataclass(frozen=True, kw_only=True)
class Request:
    """One call: of a function, or of one of its steps."""

    function: str
    run_id: str
    attempt: int
    """Counted from 0."""
    max_attempts: int
    event: Mapping[str, Any]
    memos: Mapping[str, Any]
    step: str = ROOT
    plans: bool = False
    """Whether the next step is only named, and not run: other branches may reach it too."""

    @property
    def sender(self) -> str:
        """Name the step that this request runs, by its id or by what came before it."""
        return f"{self.run_id}/{f'after {len(self.memos)}' if self.step == ROOT else self.step}"

    @property
    def body(self) -> bytes:
        """The request as JSON of the vendor's protocol."""
        return orjson.dumps(
            {
                "ctx": {
                    "attempt": self.attempt,
                    "disable_immediate_execution": self.plans,
                    "max_attempts": self.max_attempts,
                    "run_id": self.run_id,
                    "stack": {"stack": list(self.memos)},
                },
                "event": self.event,
                "events": [self.event],
                "steps": self.memos,
                "use_api": False,
            }
        )


@dataclass(kw_only=True)
class Sending:
    """The events of one request."""

    prefix: str
    """What their ids begin with, the same at every attempt."""
    events: list[dict[str, Any]] = field(default_factory=list)

    def take(self, events: inngest.Event | Sequence[inngest.Event]) -> list[str]:
        """Collect events; the function gets their keys as ids."""
        batch = [events] if isinstance(events, inngest.Event) else list(events)
        return [self._take(event) for event in batch]

    def _take(self, event: inngest.Event) -> str:
        try:
            check_event_name(event.name)
        except TurnoutError as error:
            raise inngest.NonRetriableError(str(error)) from None
        if event.name.startswith(STARTS):
            problem = f"event {event.name!r}: what begins with {STARTS} is nobody's to send"
            raise inngest.NonRetriableError(problem)
        key = event_key(event.name, event.id) if event.id else f"{self.prefix}/{len(self.events)}"
        self.events.append(
            {"name": event.name, "data": dict(event.data), "key": key, "ts": event.ts or None}
        )
        return key


_SENDING: Final[ContextVar[Sending | None]] = ContextVar("turnout_inngest_sending", default=None)


class _EventsMiddleware(inngest.MiddlewareSync):
    """Gives the client the list that collects a request's events, in any thread."""

    def __init__(self, client: inngest.Inngest, raw_request: object) -> None:
        super().__init__(client, raw_request)
        self._sending = getattr(raw_request, "scope", {}).get(_SCOPE)

    def transform_input(self, ctx: Any, function: Any, steps: Any) -> None:
        """Put the events in place for this request."""
        del ctx, function, steps
        _SENDING.set(self._sending)


class _CollectingClient(inngest.Inngest):
    """The client as the functions see it: events that a step sends are collected, not sent."""

    async def send(
        self, events: inngest.Event | list[inngest.Event], *, skip_middleware: bool = False
    ) -> list[str]:
        """Collect the events of a step; send those of other code."""
        sending = _SENDING.get()
        if skip_middleware and sending is not None:
            return sending.take(events)
        return await super().send(events, skip_middleware=skip_middleware)

    def send_sync(
        self, events: inngest.Event | list[inngest.Event], *, skip_middleware: bool = False
    ) -> list[str]:
        """Collect the events of a step; send those of other code."""
        sending = _SENDING.get()
        if skip_middleware and sending is not None:
            return sending.take(events)
        return super().send_sync(events, skip_middleware=skip_middleware)


class Endpoint:
    """The functions of one client, ready to be called."""

    def __init__(self, client: inngest.Inngest, functions: Sequence[inngest.Function[Any]]) -> None:
        self._client = client
        self._functions = list(functions)
        self._app: Any = None
        self._calls: set[asyncio.Task[Any]] = set()
        # The SDK may be calling us, by the adapter: in its context it refuses a function's steps.
        self._context = copy_context()

    async def ask(self, request: Request) -> tuple[Answer, list[dict[str, Any]]]:
        """Make a call: the answer, and the events that it sent."""
        if self._app is None:
            self._app = self._served()
        sending = Sending(prefix=request.sender)
        query = urlencode({"fnId": request.function, "stepId": request.step})
        post = _post(self._app, query, request.body, {_SCOPE: sending})
        call = asyncio.create_task(post, context=self._context.copy())
        self._calls.add(call)
        call.add_done_callback(self._over)
        # A cancelled run's code is not interrupted: the vendor's server does not, either.
        status, headers, body = await asyncio.shield(call)
        return read(status, headers, body, datetime.now(UTC)), sending.events

    def _over(self, call: "asyncio.Task[Any]") -> None:
        self._calls.discard(call)
        if not call.cancelled():
            call.exception()  # whoever asked has it; of a call that was left, nobody wants it

    def _served(self) -> Any:
        """Serve the functions; requests are our own, so they are not signed."""
        client = self._client
        collecting_client = _CollectingClient(
            app_id=client.app_id,
            app_version=client.app_version,
            api_base_url=client.api_origin,
            event_api_base_url=client.event_api_origin,
            event_key=client.event_key,
            env=client.env,
            is_production=False,
            logger=client.logger,
            middleware=[_EventsMiddleware, *client.middleware],
            serializer=serializer_of(client),
        )
        app = fastapi.FastAPI(openapi_url=None)
        inngest.fast_api.serve(app, collecting_client, self._functions, serve_path=PATH)
        return app


async def _post(
    app: Any, query: str, body: bytes, extensions: Mapping[str, Any]
) -> tuple[int, dict[str, str], bytes]:
    """Post to an ASGI application in this process."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": PATH,
        "raw_path": PATH.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(b"content-type", b"application/json"), (b"host", b"turnout")],
        "client": None,
        "server": ("turnout", 80),
        **extensions,
    }
    messages: list[Mapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Mapping[str, Any]) -> None:
        messages.append(message)

    await app(scope, receive, send)
    headers = {name.decode().lower(): value.decode() for name, value in messages[0]["headers"]}
    return (
        int(messages[0]["status"]),
        headers,
        b"".join(message.get("body", b"") for message in messages[1:]),
    )
