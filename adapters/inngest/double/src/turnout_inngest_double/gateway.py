"""`connect`: workers hold a socket to the server, and calls go down that socket.

A worker that vanishes in the middle of a call keeps the call until its lease runs out: it may come
back and hand in its reply over another socket or by HTTP.
"""

import asyncio
import itertools
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect

from turnout_inngest_double import connect_wire as wire
from turnout_inngest_double import ids
from turnout_inngest_double.clock import Clock
from turnout_inngest_double.connect_wire import Kind
from turnout_inngest_double.errors import RefusedBySync
from turnout_inngest_double.http_client import NoAnswer, Reply
from turnout_inngest_double.scheduler import Scheduler

logger = logging.getLogger(__name__)
LEASE_MS = 120_000
HEARTBEAT, EXTEND_LEASE = "10s", "5s"
MAX_MESSAGE = 16 * 1024 * 1024
MAX_TOKENS = 10_000
_POLICY_VIOLATION = 1008

Sync = Callable[[wire.Hello], None]
"""Registers the functions of a worker's applications; RefusedBySync when one is invalid."""


class NoWorker(NoAnswer):
    """No worker of the application is connected and has room."""


@dataclass(kw_only=True)
class _Worker:
    """One connected process."""

    socket: WebSocket
    hello: wire.Hello
    since: int
    busy: set[str] = field(default_factory=set)
    is_paused: bool = False

    @property
    def has_room(self) -> bool:
        limit = self.hello.max_requests
        return not self.is_paused and (limit <= 0 or len(self.busy) < limit)

    @property
    def apps(self) -> list[str]:
        return [name for name, _, _ in self.hello.apps]


@dataclass(kw_only=True)
class _Call:
    """A call that is under way."""

    answer: asyncio.Future[Reply]
    until: int


class Gateway:
    """Accepts workers, and sends them calls in turn."""

    def __init__(self, clock: Clock, scheduler: Scheduler, sync: Sync) -> None:
        self._clock = clock
        self._scheduler = scheduler
        self._sync = sync
        self._workers: list[_Worker] = []
        self._calls: dict[str, _Call] = {}
        self._tokens: dict[str, None] = {}
        self._turn = itertools.count()

    # -- calls ----------------------------------------------------------------------------------

    async def send(self, request: wire.Request) -> Reply:
        """The worker's reply; NoAnswer when none is connected, or its lease runs out."""
        fitting = [worker for worker in self._workers if request.app in worker.apps]
        free = [worker for worker in fitting if worker.has_room]
        if not free:
            raise NoWorker("no worker is connected, or none has room")
        worker = free[next(self._turn) % len(free)]
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        call = _Call(answer=answer, until=self._clock.now() + LEASE_MS)
        self._calls[request.request_id] = call
        worker.busy.add(request.request_id)
        self._watch(request.request_id, call)
        try:
            await worker.socket.send_bytes(wire.request(request))
            return await answer
        except (WebSocketDisconnect, RuntimeError) as error:
            raise NoWorker("the worker is gone") from error
        finally:
            self._calls.pop(request.request_id, None)
            worker.busy.discard(request.request_id)

    def _watch(self, request_id: str, call: _Call) -> None:
        self._scheduler.at(call.until, lambda: self._check_lease(request_id, call))

    def _check_lease(self, request_id: str, call: _Call) -> None:
        if call.answer.done():
            return
        if call.until > self._clock.now():
            self._watch(request_id, call)
        else:
            call.answer.set_exception(NoAnswer("the worker's lease ran out"))

    def _answered(self, payload: bytes) -> str:
        request_id = wire.read_request_id(payload)
        call = self._calls.get(request_id)
        if call is not None and not call.answer.done():
            call.answer.set_result(wire.read_reply(payload))
        return request_id

    # -- workers --------------------------------------------------------------------------------

    def admit(self, endpoint: str) -> bytes:
        """The answer to a worker that wants to connect: where, and with which token."""
        token = secrets.token_urlsafe(24)
        self._tokens[token] = None
        while len(self._tokens) > MAX_TOKENS:
            del self._tokens[next(iter(self._tokens))]
        return wire.start_response(ids.ulid(self._clock.now()), endpoint, token)

    def connected(self) -> list[dict[str, object]]:
        """Who is connected, as the API shows it."""
        return [
            {
                "id": worker.hello.connection_id,
                "instance_id": worker.hello.instance_id,
                "apps": worker.apps,
                "status": "DRAINING" if worker.is_paused else "READY",
                "connected_at": ids.iso(worker.since),
                "sdk": worker.hello.sdk,
            }
            for worker in self._workers
        ]

    async def serve(self, socket: WebSocket) -> None:
        """Talk with one worker until it goes."""
        await socket.accept(subprotocol=wire.SUBPROTOCOL)
        worker: _Worker | None = None
        try:
            await socket.send_bytes(wire.frame(Kind.HELLO))
            worker = await self._greet(socket)
            while worker is not None:
                await self._take(worker, await _next(socket))
        except WebSocketDisconnect:
            pass
        except ValueError as error:
            logger.warning("a worker broke the protocol: %s", error, extra={"action": "connect"})
            await socket.close(_POLICY_VIOLATION)
        finally:
            if worker is not None:
                self._workers.remove(worker)

    async def _greet(self, socket: WebSocket) -> _Worker | None:
        kind, payload = wire.read_frame(await _next(socket))
        hello = wire.read_hello(payload) if kind is Kind.WORKER_CONNECT else None
        if hello is None or hello.token not in self._tokens:
            raise ValueError("expected an introduction with a token of /v0/connect/start")
        try:
            self._sync(hello)
        except RefusedBySync as error:
            logger.warning("sync refused: %s", error, extra={"action": "sync"})
            await socket.send_bytes(wire.frame(Kind.SYNC_FAILED))
            await socket.close(_POLICY_VIOLATION)
            return None
        worker = _Worker(socket=socket, hello=hello, since=self._clock.now())
        self._workers.append(worker)
        await socket.send_bytes(wire.ready(HEARTBEAT, EXTEND_LEASE))
        return worker

    async def _take(self, worker: _Worker, message: bytes) -> None:
        kind, payload = wire.read_frame(message)
        match kind:
            case Kind.HEARTBEAT:
                await worker.socket.send_bytes(wire.frame(Kind.GATEWAY_HEARTBEAT))
            case Kind.PAUSE:
                worker.is_paused = True
            case Kind.WORKER_READY:
                worker.is_paused = False
            case Kind.REPLY:
                await worker.socket.send_bytes(wire.reply_ack(self._answered(payload)))
            case Kind.EXTEND_LEASE:
                await worker.socket.send_bytes(wire.lease_ack(payload, self._extend(payload)))
            case _:
                pass

    def _extend(self, payload: bytes) -> str:
        """A new lease; the empty text when nobody waits for the reply any more."""
        call = self._calls.get(wire.read_request_id(payload))
        if call is None or call.answer.done():
            return ""
        call.until = self._clock.now() + LEASE_MS
        return ids.ulid(self._clock.now())

    def flush(self, payload: bytes) -> bytes:
        """A reply that the worker could not hand in over its socket."""
        return wire.flush_response(self._answered(payload))

    async def close(self) -> None:
        """Tell every worker that the server goes."""
        for worker in list(self._workers):
            try:
                await worker.socket.send_bytes(wire.frame(Kind.CLOSING))
                await worker.socket.close()
            except (WebSocketDisconnect, RuntimeError):
                continue


async def _next(socket: WebSocket) -> bytes:
    message = await socket.receive_bytes()
    if len(message) > MAX_MESSAGE:
        raise ValueError(f"a message is larger than {MAX_MESSAGE} bytes")
    return message


def described(hello: wire.Hello, name: str, version: str, functions: bytes) -> dict[str, object]:
    """A worker's application as a registration by HTTP would describe it."""
    try:
        parsed = orjson.loads(functions)
    except orjson.JSONDecodeError as error:
        raise RefusedBySync(f"the functions of {name!r} are not JSON") from error
    return {
        "appname": name,
        "appVersion": version or None,
        "framework": "connect",
        "functions": parsed,
        "sdk": hello.sdk,
        "url": "wss://connect",
    }
