"""Events of senders that do not know Turnout: each is emitted here, once for ever.

Two ways in: a function at the vendor that listens to them, and `POST /e/{key}` of this service,
for senders that can change their base URL. Both key an event by its name and the vendor's id, so
that one which comes both ways, or again, starts the runs that it has started.
"""

import hashlib
import hmac
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import inngest
import orjson
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from turnout.errors import TooLarge, TurnoutError, Unavailable, WrongUse
from turnout.model.events import Emitted, Event
from turnout.model.tasks import App
from turnout.model.time import Millis
from turnout.ports.caller import Emit
from turnout.ports.clock import Clock
from turnout_inngest.settings import RESERVED, STARTS, SUBSCRIBED, InngestSettings

log = logging.getLogger(__name__)

FUNCTION: Final = "_ingress."
"""What the id of an ingress function starts with; no task's id can."""
DOOR: Final = "/e"
"""Where the vendor's senders post events to; the key follows."""
MAX_TRIGGERS: Final = 10
"""Of one function at the vendor."""
MAX_EVENTS: Final = 1_000
MAX_BODY: Final = 16 * 1024 * 1024
MAX_ID: Final = 400
MAX_SEED: Final = 256
_RESERVED_NAMES: Final = ", ".join(RESERVED)
_FIRST_TS, _LAST_TS = 315_532_800_000, 4_102_444_800_000
"""1980 and 2100, in milliseconds, as at the vendor."""


def names_of(app: App, settings: InngestSettings) -> tuple[str, ...]:
    """Name the events that come in through the vendor; none unless the settings name them."""
    names: dict[str, None] = {}
    for name in settings.ingress:
        names.update(dict.fromkeys(subscribed(app) if name == SUBSCRIBED else [name]))
    return tuple(names)


def subscribed(app: App) -> Iterator[str]:
    """Name the events that start a task of the app, or cancel one."""
    for task in app.tasks:
        yield from (name for name in task.on if not name.startswith(STARTS))
        yield from (name.event for name in task.policies.cancel_on)


def ingress_functions(
    names: Sequence[str], client: inngest.Inngest, emit: Emit | None, *, retries: int
) -> list[inngest.Function[Any]]:
    """Make the functions that listen to the events at the vendor and emit them here."""
    if emit is None:
        return []

    async def take(ctx: inngest.Context) -> dict[str, Any]:
        return await _emit(ctx, emit)

    return [
        client.create_function(
            fn_id=f"{FUNCTION}{number}",
            retries=retries,
            trigger=[
                inngest.TriggerEvent(event=name) for name in names[start : start + MAX_TRIGGERS]
            ],
        )(take)
        for number, start in enumerate(range(0, len(names), MAX_TRIGGERS), 1)
    ]


async def _emit(ctx: inngest.Context, emit: Emit) -> dict[str, Any]:
    """Emit the vendor's event; a repeated vendor run finds the runs of the first one."""
    event = ctx.event
    if event.name.startswith(RESERVED):
        problem = f"event {event.name[:200]!r}: nobody sends what begins with {_RESERVED_NAMES}"
        raise inngest.NonRetriableError(problem, quiet=True)
    key = event_key(event.name, event.id or ctx.run_id)
    try:
        (emitted,) = await emit([Event(name=event.name, payload=dict(event.data), key=key)])
    except WrongUse as error:
        raise inngest.NonRetriableError(f"{error.code}: {error}", quiet=True) from None
    except TurnoutError as error:
        pause = timedelta(seconds=min(2**ctx.attempt, 60))
        raise inngest.RetryAfterError(str(error), pause, quiet=True) from None
    log.info("taken in", extra={"action": "ingress", "event": event.name, "key": key})
    return {"turnout": 1, "event_id": emitted.event_id, "runs": _runs(emitted)}


def _runs(emitted: Emitted) -> list[dict[str, Any]]:
    return [
        {"run_id": run.run_id, "task": run.task, "duplicate": run.duplicate} for run in emitted.runs
    ]


def event_key(name: str, event_id: str) -> str:
    """Write the key of a vendor's event: ids are unique within one event name, as at the vendor."""
    text = f"inngest:{name}:{event_id}"
    if len(event_id) <= MAX_ID - len(name) and event_id.isprintable():
        return text
    return f"inngest:{name}:sha256={hashlib.sha256(event_id.encode()).hexdigest()}"


def _seed_key(name: str, seeded: str) -> str | None:
    """Write the key of an event without an id; the same for a request that is sent again."""
    if not seeded:
        return None
    return f"inngest-seed:{name}:{hashlib.sha256(seeded.encode()).hexdigest()}"


class Door:
    """Receives events as the vendor's server does: `POST /{key}`, with one event or a list."""

    def __init__(self, keys: Iterable[str], emit: Emit, clock: Clock) -> None:
        self._keys = [hashlib.sha256(key.encode()).digest() for key in keys]
        self._emit = emit
        self._clock = clock

    def application(self) -> Starlette:
        """Give the application to mount at `/e`."""
        return Starlette(routes=[Route("/{key}", self.answer, methods=["POST"])])

    async def answer(self, request: Request) -> Response:
        """Record all of the events or none; ids in order, as the vendor's server answers."""
        if not self._accepts(request.path_params["key"]):
            return _reply(401, {"message": "", "error": "Event key not found"})
        try:
            items = _read(await _bounded(request))
            seed = request.headers.get("x-inngest-event-id-seed", "")
            events = [
                self._event(item, seed and f"{seed[:MAX_SEED]}#{place}")
                for place, item in enumerate(items)
            ]
            emitted = await self._emit(events) if events else []
        except ClientDisconnect:
            return Response(status_code=499)
        except TooLarge as error:
            return _refused(413, error)
        except WrongUse as error:
            return _refused(400, error)
        except TurnoutError as error:
            log.warning("not taken in", extra={"action": "ingress", "error": str(error)})
            return _refused(503 if isinstance(error, Unavailable) else 500, error)
        return _reply(200, {"ids": [event.event_id for event in emitted]})

    def _accepts(self, key: str) -> bool:
        """Compare with every key, in constant time."""
        digest = hashlib.sha256(key.encode()).digest()
        return sum(hmac.compare_digest(digest, accepted) for accepted in self._keys) > 0

    def _event(self, item: Any, seeded: str) -> Event:
        """Check one event. Without an id, a request that is sent again is known by its seed.

        Beside the vendor's members it may have our `tags`, `user_id` and `metadata`.
        """
        if not isinstance(item, dict):
            raise WrongUse("an event is an object")
        name, data, event_id = item.get("name"), item.get("data"), item.get("id")
        if not isinstance(name, str) or not name or name.startswith(RESERVED):
            raise WrongUse(f"an event's name is a text, and starts with none of {_RESERVED_NAMES}")
        if not isinstance(data, dict | None):
            raise WrongUse(f"event {name[:200]!r}: data is an object")
        if not isinstance(event_id, str | None):
            raise WrongUse(f"event {name[:200]!r}: id is a text")
        key = event_key(name, event_id) if event_id else _seed_key(name, seeded)
        return Event(
            name=name,
            payload=data or {},
            key=key,
            at=self._later(item.get("ts"), name),
            tags=item.get("tags") or (),
            user_id=item.get("user_id"),
            metadata=item.get("metadata"),
        )

    def _later(self, ts: Any, name: str) -> datetime | None:
        """Read a delayed start: a `ts` that is still to come."""
        if ts is None:
            return None
        if isinstance(ts, bool) or not isinstance(ts, int):
            raise WrongUse(f"event {name[:200]!r}: ts is a number of milliseconds")
        moment: Millis = ts
        if moment and not _FIRST_TS <= moment <= _LAST_TS:
            raise WrongUse(f"event {name[:200]!r}: ts is not between 1980 and 2100")
        if moment <= self._clock.now():
            return None
        return datetime.fromtimestamp(moment / 1_000, UTC)


async def _bounded(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise TooLarge(f"a request has at most {MAX_BODY:,} bytes")
    return bytes(body)


def _read(body: bytes) -> list[Any]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise WrongUse("the body is not JSON") from None
    events = content if isinstance(content, list) else [content]
    if len(events) > MAX_EVENTS:
        raise WrongUse(f"a request has at most {MAX_EVENTS:,} events; send them in parts")
    return events


def _refused(status: int, error: TurnoutError) -> Response:
    return _reply(status, {"ids": [""], "error": str(error)[:2_000]})


def _reply(status: int, body: Mapping[str, Any]) -> Response:
    content = orjson.dumps({**body, "status": status})
    return Response(content, status, media_type="application/json")
