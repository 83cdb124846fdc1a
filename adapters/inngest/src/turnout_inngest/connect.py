"""The transport by socket: this process connects to the server, which sends calls over the socket.

The SDK's own connection reconnects a few times and then gives up for good. Here a connection
that has ended is always replaced, after a pause that grows up to a bound. New functions need a new
connection, because the server takes an application's functions when it greets a connection; the old
one goes on until the new one is ready, and then ends its calls.
"""

import asyncio
import contextlib
import logging
import os
import random
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import inngest

from turnout.errors import (
    InvalidSettings,
    ProviderUnavailable,
    TurnoutError,
    foreign_errors_translated,
)
from turnout.model.providers import LinkState, LinkStatus

log = logging.getLogger(__name__)

Crons = Mapping[str, str]
"""The armed schedules: id → the vendor's trigger."""

FIRST_PAUSE: Final = 0.5
MAX_PAUSE: Final = 15.0
"""Seconds between the end of a connection and the next try."""
READY_WITHIN: Final = 10.0
"""Seconds that who registers waits for the connection that does it."""
GRACE: Final = 30.0
"""Seconds in which a connection that is closed ends what it is doing."""
LOOK_INTERVAL: Final = 15.0
"""Seconds between looks whether somebody else has armed or disarmed schedules."""


class Connection(Protocol):
    """The methods of the SDK's connection that are used here."""

    async def start(self) -> None:
        """Connect and stay until closed; raises when it gives up."""
        ...

    async def close(self, *, wait: bool = False) -> None:
        """Take no more calls, end those under way, disconnect."""
        ...


@dataclass(kw_only=True, eq=False)
class _OpenConnection:
    """One connection and its life."""

    connection: Connection
    offer: int
    running: asyncio.Task[None]
    retiring: asyncio.Task[None] | None = field(default=None)


def connector(
    client: inngest.Inngest,
    functions: Callable[[Crons], list[inngest.Function[Any]]],
    gateway: str | None,
) -> Callable[[Crons], Connection]:
    """Make what makes the SDK's connections; InvalidSettings where its extra is not installed.

    gateway: where the gateway is seen from here, if not where the server says.
    """
    try:
        from inngest.connect import connect
    except ImportError:
        raise InvalidSettings(
            "TURNOUT_INNGEST_TRANSPORT: connect needs the extra: pip install"
            " 'turnout-inngest[connect]'"
        ) from None
    name = f"{socket.gethostname()}-{os.getpid()}"

    def make_connection(crons: Crons) -> Connection:
        """Make a connection that offers the functions with these schedules."""
        return connect(
            [(client, functions(crons))],
            instance_id=name,
            rewrite_gateway_endpoint=None if gateway is None else lambda _address: gateway,
            # Signals are the service's own: it ends running steps first, and then this.
            shutdown_signals=[],
        )

    return make_connection


async def greeted(connection: Any) -> None:
    """Wait until the server has taken the SDK's connection in."""
    from inngest.connect import ConnectionState

    await connection.wait_for_state(ConnectionState.ACTIVE)


class Link:
    """Keeps a connection to the server: one that has ended is replaced.

    connect: makes a connection that offers the functions with these schedules. active: waits until
    a connection is greeted. armed: reads the schedules that the server has, None if it cannot tell.
    """

    def __init__(
        self,
        connect: Callable[[Crons], Connection],
        active: Callable[[Any], Awaitable[None]],
        armed: Callable[[], Awaitable[Crons | None]],
    ) -> None:
        self._connect = connect
        self._active = active
        self._armed = armed
        self._crons: Crons = {}
        self._offer = 0
        self._greeted = 0
        self._changed = asyncio.Event()
        self._news = asyncio.Condition()
        self._connections: list[_OpenConnection] = []
        self._keeper: asyncio.Task[None] | None = None
        self._problem = ""
        """What stands in the way now; the status keeps what last did."""
        self.status = LinkStatus(state=LinkState.IDLE)

    @property
    def crons(self) -> Crons:
        """The schedules that are offered with the functions."""
        return self._crons

    async def offer(self, crons: Crons) -> None:
        """Register the functions with these schedules; ProviderUnavailable if it takes too long.

        The link goes on trying after that, without an end.
        """
        if self.status.state is LinkState.CLOSED:
            raise ProviderUnavailable("the link to Inngest is closed")
        self._renew(crons)
        offer = self._offer
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep())
        try:
            async with asyncio.timeout(READY_WITHIN), self._news:
                await self._news.wait_for(lambda: self._greeted >= offer)
        except TimeoutError:
            problem = self._problem or "no answer"
            raise ProviderUnavailable(f"Inngest's gateway does not take us in: {problem}") from None

    def drain(self) -> None:
        """Take no more calls and make no more connections; calls under way go on."""
        self._note(LinkState.CLOSED)
        if self._keeper is not None:
            self._keeper.cancel()
        for connection in list(self._connections):
            self._retire(connection)

    async def close(self) -> None:
        """Let what is under way end, then disconnect."""
        self.drain()
        if self._keeper is not None:
            await asyncio.gather(self._keeper, return_exceptions=True)
        await asyncio.gather(
            *(
                connection.retiring
                for connection in self._connections
                if connection.retiring is not None
            )
        )

    def _renew(self, crons: Crons) -> None:
        self._crons = dict(crons)
        self._offer += 1
        self._changed.set()

    async def _keep(self) -> None:
        """Hold a connection; when it has ended, or offers what is out of date, make another."""
        looking = asyncio.create_task(self._look())
        pause = FIRST_PAUSE
        try:
            while True:
                self._changed.clear()
                connection = self._open()
                if connection is not None and await self._ready(connection):
                    pause = FIRST_PAUSE
                    await self._until_replaced(connection)
                if self._changed.is_set():
                    continue
                self._note(LinkState.CONNECTING)
                with contextlib.suppress(TimeoutError):
                    wait = pause * random.uniform(0.5, 1.0)  # noqa: S311 - to spread replicas out
                    await asyncio.wait_for(self._changed.wait(), wait)
                pause = min(pause * 2, MAX_PAUSE)
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    def _open(self) -> _OpenConnection | None:
        """Begin to connect."""
        self._note(LinkState.CONNECTING if not self._is_connected() else LinkState.CONNECTED)
        try:
            with foreign_errors_translated():
                connection = self._connect(self._crons)
        except TurnoutError as error:
            self._note(LinkState.CONNECTING, error)
            return None
        running = asyncio.create_task(connection.start())
        opened = _OpenConnection(connection=connection, offer=self._offer, running=running)
        self._connections.append(opened)
        running.add_done_callback(lambda _: self._note_end(opened))
        return opened

    async def _ready(self, opened: _OpenConnection) -> bool:
        """Wait until the server has greeted the connection; False once it has given up."""
        greeting = asyncio.ensure_future(self._active(opened.connection))
        changed = asyncio.create_task(self._changed.wait())
        try:
            await asyncio.wait(
                (greeting, opened.running, changed), return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            changed.cancel()
            if not greeting.done():
                greeting.cancel()
                await asyncio.gather(greeting, return_exceptions=True)
        if opened.running.done() or greeting.cancelled() or greeting.exception() is not None:
            self._retire(opened)
            return False
        for other_connection in self._connections:
            if other_connection is not opened:
                self._retire(other_connection)
        self.status = replace(self.status, connections=self.status.connections + 1)
        self._note(LinkState.CONNECTED)
        async with self._news:
            self._greeted = max(self._greeted, opened.offer)
            self._news.notify_all()
        return True

    async def _until_replaced(self, opened: _OpenConnection) -> None:
        """Wait until the connection has ended, or is to be replaced."""
        changed = asyncio.create_task(self._changed.wait())
        await asyncio.wait((opened.running, changed), return_when=asyncio.FIRST_COMPLETED)
        changed.cancel()

    async def _look(self) -> None:
        """Take over schedules armed by other processes, so that the next connection keeps them.

        Only what two looks in a row have seen: right after an offer the server may still list what
        was there before, and taking that over would undo the offer.
        """
        seen: tuple[int, Crons] | None = None
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            offer = self._offer
            if not self._is_connected() or self._greeted < offer:
                continue
            try:
                armed = await self._armed()
            except TurnoutError as error:
                log.debug("not looked", extra={"action": "connect", "error": str(error)})
                continue
            before, seen = seen, None if armed is None else (offer, dict(armed))
            if armed is None or seen != before or self._offer != offer:
                continue
            if dict(armed) != self._crons:
                log.info("schedules changed elsewhere", extra={"action": "connect"})
                self._renew(armed)

    def _is_connected(self) -> bool:
        return any(
            not opened.running.done() and opened.retiring is None for opened in self._connections
        )

    def _retire(self, opened: _OpenConnection) -> None:
        """Close a connection once its calls have ended; its successor serves meanwhile."""
        if opened.retiring is None:
            opened.retiring = asyncio.create_task(self._end(opened))

    async def _end(self, opened: _OpenConnection) -> None:
        """Close a connection, within the grace; whatever its closing raises, it ends here."""
        try:
            with foreign_errors_translated():
                async with asyncio.timeout(GRACE):
                    await opened.connection.close(wait=True)
                    await asyncio.gather(opened.running, return_exceptions=True)
        except ProviderUnavailable as error:
            # The grace is over, or the SDK has waited for its own socket for too long.
            late = isinstance(error.__cause__, TimeoutError)
            log.log(
                logging.WARNING if late else logging.DEBUG,
                "a connection did not end" if late else "a connection broke",
                extra={"action": "connect", "error": str(error)},
            )
        finally:
            opened.running.cancel()
            if opened in self._connections:
                self._connections.remove(opened)

    def _note_end(self, opened: _OpenConnection) -> None:
        """Record why a connection ended that was not closed here."""
        if opened.running.cancelled():
            return
        error = opened.running.exception()
        if opened.retiring is None and opened in self._connections:
            self._connections.remove(opened)
        if error is not None and self.status.state is not LinkState.CLOSED:
            self._note(self.status.state, error)

    def _note(self, state: LinkState, error: BaseException | None = None) -> None:
        if self.status.state is LinkState.CLOSED:
            return
        problem = "" if state is LinkState.CONNECTED and error is None else self._problem
        if error is not None:
            problem = str(error)[:500] or type(error).__name__
        changed = (state, problem) != (self.status.state, self._problem)
        self._problem = problem
        self.status = replace(self.status, state=state, problem=problem or self.status.problem)
        if changed:
            level = logging.WARNING if problem else logging.INFO
            log.log(level, "link", extra={"action": "connect", "state": state, "error": problem})
