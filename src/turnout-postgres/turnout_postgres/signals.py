"""Signals between processes, by LISTEN and NOTIFY of PostgreSQL.

A thread has a connection of its own for them. A NOTIFY is never sent in a transaction of the run
store or of a caller: a transaction that has one pending holds up the commits of all others that do.
"""

import asyncio
import logging
import os
import select
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import psycopg
from sqlalchemy import URL

from turnout.stores.sql.signals import ProcessSignals
from turnout_postgres.connecting import connection_parameters, has_session, number

log = logging.getLogger(__name__)

PAUSE: Final = 0.05
"""Seconds between two sendings: at most 20 a second."""
CLOSE_SECONDS: Final = 1.0
"""How long the last signals are waited for when a process closes."""
PING_SECONDS: Final = 30.0
"""How long a silent connection is trusted."""
RETRY_SECONDS: Final = (0.5, 30.0)
"""The first and the longest pause before a lost connection is opened again."""


class PostgresSignals:
    """`Signals` between the processes that use one schema of one database.

    Without a connection, signals reach this process only, and others find what is due by polling.
    """

    def __init__(self, url: URL, schema: str) -> None:
        """url: of the server itself, since a pooler in transaction mode loses what it is told."""
        self._parameters = connection_parameters(url.set(drivername="postgresql"))
        self._channel = f"turnout_{number('signals:' + schema):x}"
        self._process = ProcessSignals()
        self._listening = False
        self._closing = False
        self._lock = threading.Lock()
        self._unsent: set[str] = set()
        self._wake_reader, self._wake_writer = os.pipe()
        self._thread: threading.Thread | None = None

    def send(self, topic: str) -> None:
        """Signal a topic to this process at once, and to others within 50 ms."""
        self._process.send(topic)
        with self._lock:
            is_new = not self._unsent and not self._closing
            self._unsent.add(topic)
        if is_new:
            self._wake()

    def listen(self, topic: str, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` on the running loop for each signal of a topic; the result ends that."""
        end = self._process.listen(topic, wake)
        if not self._listening:
            self._listening = True
            self._wake()
        return end

    async def close(self) -> None:
        """Send what waits to be sent, for a moment at most, and close the connection."""
        self._closing = True
        if self._thread is not None:
            self._wake()
            await asyncio.to_thread(self._thread.join, CLOSE_SECONDS)
        if self._thread is None or not self._thread.is_alive():
            os.close(self._wake_reader)
            os.close(self._wake_writer)

    def _wake(self) -> None:
        with self._lock:
            if self._thread is None:
                name = "turnout-signals"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()
        os.write(self._wake_writer, b"!")

    def _run(self) -> None:
        """Exchange signals over one connection after the other, until closed."""
        pause, longest = RETRY_SECONDS
        while True:
            try:
                with psycopg.connect(
                    **self._parameters, autocommit=True, prepare_threshold=None
                ) as connection:
                    pause = RETRY_SECONDS[0]
                    self._exchange(connection)
                    return
            except psycopg.Error as error:
                extra = {"action": "signals_lost", "error": type(error).__name__}
                log.warning("no signals between processes: the polls go on", extra=extra)
            if not self._closing:
                self._await_wake(pause)
            if self._closing:
                return
            pause = min(2 * pause, longest)

    def _exchange(self, connection: "psycopg.Connection[Any]") -> None:
        """Send what waits to be sent, and pass on what comes; returns when closed."""
        own_pid = connection.info.backend_pid

        def pass_on(notify: psycopg.Notify) -> None:
            """Wake this process's listeners; what it sent itself has woken them already."""
            if notify.pid != own_pid:
                self._process.send(notify.payload)

        connection.add_notify_handler(pass_on)
        listening = False
        sent_at = 0.0
        while True:
            if self._listening and not listening:
                listening = True
                self._begin_listening(connection)
            closing = self._closing
            remaining = sent_at + PAUSE - time.monotonic()
            if self._unsent and (remaining <= 0 or closing):
                self._send(connection)
                sent_at = time.monotonic()
            if closing:
                return
            if self._unsent and remaining > 0:
                time.sleep(remaining)
            else:
                self._await_wake(PING_SECONDS, connection.fileno())
            connection.execute("SELECT 1")  # what the server has sent by itself comes with it

    def _begin_listening(self, connection: "psycopg.Connection[Any]") -> None:
        if has_session(connection):
            connection.execute(f"LISTEN {self._channel}")
            return
        log.warning(
            "the database is behind a pooler, so signals of other processes are not heard, and the"
            " polls find what is due; set TURNOUT_DATABASE_DIRECT_URL to the database itself",
            extra={"action": "signals_pooled"},
        )

    def _send(self, connection: "psycopg.Connection[Any]") -> None:
        with self._lock:
            topics, self._unsent = self._unsent, set()
        for topic in topics:
            connection.execute("SELECT pg_notify(%s, %s)", (self._channel, topic))

    def _await_wake(self, seconds: float, *sockets: int) -> None:
        """Wait for `_wake` or for data on a socket, so many seconds at most."""
        ready, _, _ = select.select([self._wake_reader, *sockets], [], [], seconds)
        if self._wake_reader in ready:
            os.read(self._wake_reader, 4_096)
