"""Signals between processes on PostgreSQL: merged, and on a connection of their own."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from turnout_postgres.signals import PAUSE

from tests.pooler import pooled
from turnout.errors import InvalidSettings
from turnout.ports.signals import DUE, Signals
from turnout.stores.sql import open_signals


class Woken:
    """Counts the wakes of a listener."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop go on until something holds."""
    while not condition():
        await asyncio.sleep(0.01)


async def is_heard(sender: Signals, woken: Woken) -> None:
    """Send until it is heard: a listener may still be connecting."""
    before = woken.count
    while woken.count == before:
        sender.send(DUE)
        await asyncio.sleep(PAUSE)


@pytest.fixture
async def pair(clean_postgres_url: str) -> AsyncIterator[tuple[Signals, Signals]]:
    """The signals of two processes."""
    first, second = open_signals(clean_postgres_url), open_signals(clean_postgres_url)
    yield first, second
    await first.close()
    await second.close()


async def test_a_signal_reaches_other_processes(pair: tuple[Signals, Signals]) -> None:
    """In its own process it is heard once, and does not come back from the server."""
    sender, receiver = pair
    own, other = Woken(), Woken()
    sender.listen(DUE, own)
    receiver.listen(DUE, other)
    await is_heard(sender, other)
    await is_heard(receiver, own)
    before = own.count, other.count
    sender.send(DUE)
    await until(lambda: other.count > before[1])
    assert own.count == before[0] + 1


async def test_many_signals_are_merged(pair: tuple[Signals, Signals]) -> None:
    """However many commits there are, others hear at most twenty a second."""
    sender, receiver = pair
    other = Woken()
    receiver.listen(DUE, other)
    await is_heard(sender, other)
    before, began = other.count, time.monotonic()
    for _ in range(2_000):
        sender.send(DUE)
        await asyncio.sleep(0)
    await until(lambda: other.count > before)
    await asyncio.sleep(4 * PAUSE)
    assert other.count - before <= (time.monotonic() - began) / PAUSE + 1


async def test_a_process_that_only_emits_is_heard(clean_postgres_url: str) -> None:
    """What it sends last is sent before it ends."""
    receiver, woken = open_signals(clean_postgres_url), Woken()
    receiver.listen(DUE, woken)
    helper = open_signals(clean_postgres_url)
    await is_heard(helper, woken)
    await helper.close()
    before, emitter = woken.count, open_signals(clean_postgres_url)
    emitter.send(DUE)
    await emitter.close()
    await until(lambda: woken.count > before)
    await receiver.close()


async def test_signals_come_back_after_a_lost_connection(
    clean_postgres_url: str, pair: tuple[Signals, Signals]
) -> None:
    """The server ends every connection; signals are heard again by themselves."""
    sender, receiver = pair
    woken = Woken()
    receiver.listen(DUE, woken)
    await is_heard(sender, woken)
    with psycopg.connect(clean_postgres_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
    await is_heard(sender, woken)


async def test_behind_a_pooler_signals_need_the_direct_url(
    clean_postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Without it a process says so, hears nothing of others, and is heard by them."""
    parts = urlsplit(clean_postgres_url)
    socket = f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432"
    caplog.set_level(logging.WARNING)
    with pooled(socket, parts.path.removeprefix("/")) as pooled_url:
        behind, direct = open_signals(pooled_url), open_signals(pooled_url, clean_postgres_url)
        behind_woken, woken = Woken(), Woken()
        behind.listen(DUE, behind_woken)
        direct.listen(DUE, woken)
        await is_heard(behind, woken)
        pooled_actions = [getattr(record, "action", "") for record in caplog.records]
        assert pooled_actions.count("signals_pooled") == 1
        await behind.close()
        await direct.close()


def test_a_direct_url_of_another_database_is_refused() -> None:
    """The setting is named."""
    with pytest.raises(InvalidSettings, match="TURNOUT_DATABASE_DIRECT_URL"):
        open_signals("postgresql://u@h/d", "sqlite://")
    with pytest.raises(InvalidSettings, match="TURNOUT_DATABASE_DIRECT_URL"):
        open_signals("postgresql://u@h/d", "postgresql://h:port/d")
