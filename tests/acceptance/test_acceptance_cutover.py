"""A task is moved there and back by commands, under load and over two replicas; nothing is lost."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.faults_commands import ROOT, SIGNING_KEY, cli, service
from tests.acceptance.faults_ledger import doubled, effects_of, ended, repeated
from tests.acceptance.faults_rows import rows
from tests.acceptance.test_acceptance_faults_parts import acme, until
from tests.acme_installed import ACME
from tests.servers import free_port
from turnout import Event, open_turnout
from turnout.bootstrap.user_code import load_app

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

APP = """
from tests.acceptance.faults_app import PATIENT, note
from turnout import app, task

@task("order", on="order/placed", retries=PATIENT)
async def order(ctx, payload):
    await ctx.step("charge", note, ctx, "begin")
    await ctx.sleep("nap", "200ms")
    return await ctx.step("send", note, ctx, "begin")

@task("turnout-probe", on="probe/requested")
async def probe(ctx, payload):
    return await ctx.step("answer", note, ctx, "begin")

shop = app("shop", order, probe)
"""
PROBE = '[probe]\ntask = "turnout-probe"\n'
MOST_OPEN = 12
"""So many orders are open at once: a slower machine gets fewer, and is as busy."""
EFFECTIVE = 1_000
"""How long after a change a run may still go by the routes before it, in ms."""


@contextmanager
def load(environ: dict[str, str]) -> Iterator[list[str]]:
    """Emit orders without pause, as long as few are open; gives their keys."""
    keys: list[str] = []
    url = environ["TURNOUT_DATABASE_URL"]
    stop = threading.Event()

    async def emit() -> None:
        async with open_turnout(load_app("moving:shop"), environ, serve=False) as live:
            while not stop.is_set():
                await asyncio.sleep(0.02)
                if len(rows(url, "SELECT run_id FROM {runs} WHERE ended_at IS NULL")) >= MOST_OPEN:
                    continue
                key = f"order-{len(keys)}"
                await live.orchestrator.emit(Event(name="order/placed", payload={}, key=key))
                keys.append(key)

    thread = threading.Thread(target=lambda: asyncio.run(emit()))
    thread.start()
    try:
        yield keys
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def environ(
    tmp_path: Path, made_up_adapters: None, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Settings of a service at dual, between two made-up providers."""
    (tmp_path / "moving.py").write_text(APP)
    (tmp_path / "turnout.move.toml").write_text(PROBE)
    monkeypatch.syspath_prepend(str(tmp_path))
    ports = {"ACME_URL": free_port(), "BOLT_URL": free_port()}
    return {
        "ORCHESTRATOR_PROVIDER": "dual",
        "ORCHESTRATOR_PRIMARY": "acme",
        "ORCHESTRATOR_SHADOW": "bolt",
        "TURNOUT_APP": "moving:shop",
        "TURNOUT_DATABASE_URL": f"sqlite:///{tmp_path / 'run-store.db'}",
        "TURNOUT_ARTIFACTS": str(tmp_path / "artifacts"),
        "TURNOUT_LEASE": "2s",
        "TURNOUT_SIGNING_KEYS": SIGNING_KEY,
        "FAULTS_EFFECTS": str(tmp_path / "effects"),
        "PYTHONPATH": f"{tmp_path}:{ACME}:{ROOT}",
        "ACME_KEY": "right",
        "BOLT_KEY": "right",
        **{name: f"http://127.0.0.1:{port}" for name, port in ports.items()},
    }


def operate(folder: Path, environ: dict[str, str], *arguments: str) -> dict[str, Any]:
    """Run a command that is to succeed; gives what it printed."""
    done = cli(*arguments, "--json", environ=environ, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_a_task_moves_there_and_back_and_every_run_ends_once(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    """Each run goes by the routes at its emit, a second after a change at the latest."""
    url = environ["TURNOUT_DATABASE_URL"]
    why = ("--reason", "rehearsal")
    with ExitStack() as stack:
        for name in ("ACME_URL", "BOLT_URL"):
            stack.enter_context(acme(int(environ[name].rpartition(":")[2])))
        for _ in range(2):
            stack.enter_context(service("moving:shop", environ))
        until(lambda: len(rows(url, "SELECT replica_id FROM {replicas}")) == 2)
        drill = operate(tmp_path, environ, "drill", *why)
        with load(environ) as keys:
            until(lambda: len(keys) > 10)
            operate(tmp_path, environ, "move", "order", "--to", "ramp:50", *why)
            until(lambda: len(runs_of(url, "bolt")) > 5)
            operate(tmp_path, environ, "move", "order", "--to", "new", *why)
            count = len(keys)
            until(lambda: len(keys) > count + 40)
            back = operate(tmp_path, environ, "rollback", "order", *why)
            count = len(keys)
            until(lambda: len(keys) > count + 40)
        until(lambda: not ended(url), 120)
        status = operate(tmp_path, environ, "status")
        drained = cli("drain", "bolt", environ=environ, cwd=tmp_path)
    assert (drill["there"]["provider"], drill["back"]["provider"]) == ("bolt", "acme")
    assert (drained.returncode, "order: drained" in drained.stdout) == (3, True)
    assert "the provider cannot list its runs" in drained.stdout
    assert [step["done"] for step in back["steps"]] == [True] * 4
    assert status["way_back"].startswith("proven")
    emitted = rows(url, "SELECT key, provider, emitted_at FROM {runs} WHERE task = 'order'")
    assert Counter(key for key, _, _ in emitted) == Counter(keys)
    assert doubled(url) == []
    effects = effects_of(tmp_path / "effects")
    assert repeated(url, effects) == []
    changes = [
        (at, json.loads(detail)["after"])
        for at, detail in rows(
            url,
            "SELECT at, detail FROM {route_history} WHERE task = 'order'"
            " AND action != 'verified' ORDER BY number",
        )
    ]
    assert [after["stage"] for _, after in changes] == ["ramp", "new", "old"]
    assert astray(emitted, changes) == []


def runs_of(url: str, provider: str) -> list[tuple[Any, ...]]:
    """Read the runs of a provider."""
    return [row for row in rows(url, "SELECT provider FROM {runs}") if row[0] == provider]


def astray(emitted: Any, changes: list[tuple[int, dict[str, Any]]]) -> list[str]:
    """List the runs that went to another provider than the routes in force at their emit."""
    faults = []
    for key, provider, at in emitted:
        stages = {"dual"} if at <= changes[0][0] + EFFECTIVE else set()
        ends = [change for change, _ in changes[1:]] + [2**62]
        stages |= {
            after["stage"]
            for (begin, after), end in zip(changes, ends, strict=True)
            if begin <= at <= end + EFFECTIVE
        }
        allowed = {"dual": {"acme"}, "ramp": {"acme", "bolt"}, "new": {"bolt"}, "old": {"acme"}}
        if provider not in set().union(*(allowed[stage] for stage in stages)):
            faults.append(f"{key} at {at} went to {provider} in {sorted(stages)}")
    return faults
