"""What runs lean on goes away for some seconds, or was never right: delayed, never lost."""

import asyncio
import json
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.acceptance.faults_commands import ROOT, SIGNING_KEY, cli, service
from tests.acceptance.faults_ledger import doubled, effects_of, ended, repeated
from tests.acceptance.faults_rows import rows
from tests.acme_installed import ACME
from tests.postgres import PostgresServer
from tests.servers import free_port, running, running_moto
from turnout import Event, Turnout, app, open_turnout, task
from turnout.errors import StoreUnavailable, TurnoutError

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

APP = """
from tests.acceptance.faults_app import PATIENT, note
from turnout import Retries, app, task

@task("errand", on="parts/go", retries=PATIENT)
async def errand(ctx, payload):
    def flaky():
        told = note(ctx, "begin")
        if ctx.attempt == 1:
            raise OSError("the first try fails")
        return told
    first, second = await ctx.parallel(
        ctx.step("first", note, ctx, "begin"), ctx.step("flaky", flaky)
    )
    await ctx.sleep("nap", "100ms")
    sign = await ctx.wait_for_event("parts/sign", timeout="1h")
    return [first, second, sign]

parts = app("parts", errand)
"""


class Stand:
    """A service's settings, and what its steps did."""

    def __init__(self, folder: Path) -> None:
        (folder / "standing.py").write_text(APP)
        self.folder = folder
        self.url = f"sqlite:///{folder / 'run-store.db'}"
        self.environ = {
            "ORCHESTRATOR_PROVIDER": "acme",
            "ACME_KEY": "right",
            "TURNOUT_APP": "standing:parts",
            "TURNOUT_DATABASE_URL": self.url,
            "TURNOUT_ARTIFACTS": str(folder / "artifacts"),
            "TURNOUT_LEASE": "2s",
            "TURNOUT_SIGNING_KEYS": SIGNING_KEY,
            "FAULTS_EFFECTS": str(folder / "effects"),
            "PYTHONPATH": f"{folder}:{ACME}:{ROOT}",
        }

    def emit(self, name: str) -> None:
        """Emit an event, as a command."""
        done = cli("emit", name, "--json", environ=self.environ, cwd=self.folder)
        assert done.returncode == 0, done.stderr

    def whole(self) -> None:
        """Assert that all ended, once, and nothing ran twice."""
        effects = effects_of(self.folder / "effects")
        assert ended(self.url) == []
        assert doubled(self.url) == []
        assert repeated(self.url, effects) == []


@contextmanager
def acme(port: int, key: str = "right") -> Iterator[None]:
    """Run the vendor."""
    script = ACME / "acme_server.py"
    command = [sys.executable, str(script), str(port), key, SIGNING_KEY]
    with running(command, f"http://127.0.0.1:{port}/up"):
        yield


def until(condition: Callable[[], Any], seconds: float = 90) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)


def test_a_provider_that_is_down_delays_and_loses_nothing(tmp_path: Path) -> None:
    """Runs wait for it; one that it forgot when it died is delivered again; all end once.

    The provider is someone else's adapter, so this is also a third provider at work.
    """
    stand, port = Stand(tmp_path), free_port()
    stand.environ["ACME_URL"] = f"http://127.0.0.1:{port}"

    def states() -> list[tuple[Any, ...]]:
        return list(rows(stand.url, "SELECT state, parked_for FROM {runs} ORDER BY emit_seq"))

    with ExitStack() as stack:
        stand.emit("parts/go")
        stack.enter_context(service("standing:parts", stand.environ))
        stand.emit("parts/go")
        failing = "SELECT error FROM {deliveries} WHERE failures > 0"
        until(lambda: rows(stand.url, failing))
        assert {row[0] for row in states()} == {"queued"}
        told = {row[0] for row in rows(stand.url, failing)}
        assert all("acme" in each for each in told), told
        with acme(port):
            until(lambda: states() == [("running", "event")] * 2)
        stand.emit("parts/go")
        with acme(port):
            until(lambda: states() == [("running", "event")] * 3)
            stand.emit("parts/sign")
            until(lambda: {row[0] for row in states()} == {"completed"}, 90)
    stand.whole()
    deliveries = rows(stand.url, "SELECT MAX(number) FROM {deliveries}")
    assert deliveries[0][0] >= 2, "those that the dead vendor knew were delivered again"


def test_a_wrong_key_is_named_and_put_right(tmp_path: Path) -> None:
    """The reason stands with the delivery and in doctor, without the key; nothing is lost."""
    stand, port = Stand(tmp_path), free_port()
    stand.environ |= {"ACME_URL": f"http://127.0.0.1:{port}", "ACME_KEY": "hunter2"}
    with acme(port):
        stand.emit("parts/go")
        doctor = cli("doctor", "--json", environ=stand.environ, cwd=tmp_path)
        checks = {each["name"]: each for each in json.loads(doctor.stdout)["checks"]}
        assert doctor.returncode == 1
        assert "ACME_KEY" in checks["provider acme"]["text"]
        assert "hunter2" not in doctor.stdout + doctor.stderr
        with service("standing:parts", stand.environ):
            until(lambda: rows(stand.url, "SELECT error FROM {deliveries} WHERE failures > 0"))
        stand.environ["ACME_KEY"] = "right"
        with service("standing:parts", stand.environ):
            parked = "SELECT run_id FROM {runs} WHERE parked_for = 'event'"
            until(lambda: rows(stand.url, parked))
            stand.emit("parts/sign")
            until(lambda: rows(stand.url, "SELECT run_id FROM {runs} WHERE state = 'completed'"))
    stand.whole()


@task("plain", on="go")
async def plain(ctx: Any, payload: Any) -> Any:
    """Two steps and a sleep."""
    first = await ctx.step("first", lambda: 1)
    await ctx.sleep("nap", "50ms")
    return await ctx.step("second", lambda: first + 1)


PLAIN = app("plain", plain)


def settings(folder: Path, **given: str) -> dict[str, str]:
    """What a process on the embedded provider is told."""
    return {
        "ORCHESTRATOR_PROVIDER": "local",
        "TURNOUT_DATABASE_URL": f"sqlite:///{folder / 'run-store.db'}",
        "TURNOUT_ARTIFACTS": str(folder / "artifacts"),
        "TURNOUT_LEASE": "2s",
        **given,
    }


async def completed(live: Turnout, *run_ids: str, seconds: float = 60) -> None:
    """Wait until runs have completed."""
    await _until(lambda: _all_completed(live, run_ids), seconds)


async def _all_completed(live: Turnout, run_ids: Any) -> bool:
    try:
        runs = [(await live.store.journals.load(each)).run for each in run_ids]
    except StoreUnavailable:
        return False
    return all(each.state.value == "completed" for each in runs)


async def _until(condition: Callable[[], Awaitable[bool]], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < end, "it took too long"
        await asyncio.sleep(0.1)


async def emitted(live: Turnout, key: str) -> str:
    """Emit, as a client that tries again with its key when it hears that it should."""
    for _ in range(60):
        try:
            (told,) = await live.orchestrator.emit(Event(name="go", key=key))
        except StoreUnavailable:
            await asyncio.sleep(0.2)
            continue
        return told.runs[0].run_id
    raise AssertionError("the store does not come back")


async def test_artifacts_that_cannot_be_written_are_written_later(tmp_path: Path) -> None:
    """A folder that takes nothing delays artifacts, never a run; then they are all there."""
    runs = tmp_path / "artifacts" / "runs"
    runs.parent.mkdir()
    runs.write_text("a file where the folder should be: nobody can write below it")
    async with open_turnout(PLAIN, settings(tmp_path)) as live:
        run_id = await emitted(live, "one")
        await completed(live, run_id)
        await asyncio.sleep(1)
        behind = await asyncio.to_thread(
            rows, live.settings.database_url.get_secret_value(), _BEHIND
        )
        assert behind == [(run_id,)]
        runs.unlink()
        await _until(lambda: _is_file(runs / run_id / "manifest.json"), 60)
    names = sorted(each.name for each in (runs / run_id / "steps").iterdir())
    assert len(names) == 3
    assert json.loads((runs / run_id / "status.json").read_text())["state"] == "completed"


async def _is_file(path: Path) -> bool:
    return path.is_file()


_BEHIND = "SELECT run_id FROM {runs} WHERE projection_at IS NOT NULL"


async def test_object_storage_that_is_down_gets_its_artifacts_later(tmp_path: Path) -> None:
    """Runs go on without it; what it missed is written when it answers."""
    with running_moto() as server:
        bucket = server.make_bucket()
        port = server.endpoint.rpartition(":")[2]
        down = {**server.settings, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}
        given = settings(tmp_path, TURNOUT_ARTIFACTS=f"s3://{bucket}/here")
        async with open_turnout(PLAIN, {**given, **down}) as live:
            run_id = await emitted(live, "one")
            await completed(live, run_id)
        async with open_turnout(PLAIN, {**given, **server.settings}) as live:
            key = f"here/runs/{run_id}/manifest.json"
            await _until(lambda: asyncio.to_thread(_listed, server, bucket, key), 60)
        assert port in server.endpoint


def _listed(server: Any, bucket: str, key: str) -> bool:
    client = server.client()
    try:
        found = client.list_objects_v2(Bucket=bucket, Prefix=key)
        return int(found["KeyCount"]) == 1
    finally:
        client.close()


async def test_artifacts_that_were_spoilt_are_refused_and_rebuilt(tmp_path: Path) -> None:
    """What is not what its schema promises is named; a command writes it anew."""
    given = settings(tmp_path)
    async with open_turnout(PLAIN, given) as live:
        run_id = await emitted(live, "one")
        folder = tmp_path / "artifacts" / "runs" / run_id
        await _until(lambda: _is_file(folder / "manifest.json"), 60)
    whole = {each.name: each.read_bytes() for each in folder.rglob("*.json")}
    (folder / "manifest.json").write_text('{"schema": "someone else\'s"}')
    (folder / "status.json").write_bytes(whole["status.json"][:40])
    (tmp_path / "plainly.py").write_text(_PLAINLY)
    given |= {"TURNOUT_APP": "plainly:PLAIN", "PYTHONPATH": f"{tmp_path}:{ACME}:{ROOT}"}
    done = await asyncio.to_thread(
        lambda: cli("runs", "rebuild", run_id, environ=given, cwd=tmp_path)
    )
    assert done.returncode == 0, done.stderr
    assert {each.name: each.read_bytes() for each in folder.rglob("*.json")} == whole


_PLAINLY = "from tests.acceptance.test_acceptance_faults_parts import PLAIN\n"


async def test_a_locked_file_delays_and_loses_nothing(tmp_path: Path) -> None:
    """While another program holds the file for seconds, calls wait or say so; then all goes on."""
    async with open_turnout(PLAIN, settings(tmp_path)) as live:
        first = await emitted(live, "one")
        holder = sqlite3.connect(tmp_path / "run-store.db", timeout=20, isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        trying = asyncio.create_task(emitted(live, "two"))
        await asyncio.sleep(6)
        holder.execute("ROLLBACK")
        holder.close()
        second = await trying
        await completed(live, first, second)
        assert await emitted(live, "two") == second
    _once(f"sqlite:///{tmp_path / 'run-store.db'}", 2)


async def test_a_server_that_goes_away_delays_and_loses_nothing(
    tmp_path: Path, postgres_server: PostgresServer, postgres_url: str
) -> None:
    """While PostgreSQL takes nobody, an emit says so and a run waits; then all goes on."""
    given = settings(tmp_path, TURNOUT_DATABASE_URL=postgres_url)
    async with open_turnout(PLAIN, given) as live:
        first = await emitted(live, "one")
        await asyncio.to_thread(_shut, postgres_server, postgres_url)
        with pytest.raises(TurnoutError) as raised:
            await live.orchestrator.emit(Event(name="go", key="two"))
        assert isinstance(raised.value, StoreUnavailable)
        assert "run store" in str(raised.value)
        await asyncio.sleep(2)
        await asyncio.to_thread(_reopen, postgres_server, postgres_url)
        second = await emitted(live, "two")
        await completed(live, first, second, seconds=40)
    _once(postgres_url, 2)


def _shut(server: PostgresServer, url: str) -> None:
    name = url.partition("@/")[2].partition("?")[0]
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )


def _reopen(server: PostgresServer, url: str) -> None:
    name = url.partition("@/")[2].partition("?")[0]
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())


def _once(url: str, many: int) -> None:
    assert ended(url) == []
    assert doubled(url) == []
    assert len(rows(url, "SELECT run_id FROM {runs}")) == many
