"""What the doctor and `turnout emit` say where the service has another flag than they have."""

import asyncio
from pathlib import Path

import pytest
from turnout_operator.doctor.check import Health
from turnout_operator.doctor.examine import examine

from turnout.cli.main import run
from turnout.model.replicas import Replica
from turnout.service.clock import SystemClock
from turnout.stores.sql import open_run_store

APP = "turnout_demo.tasks:agents"
FLAGS = pytest.mark.parametrize(
    ("flags", "foreign"),
    [([], None), (["memory"], "memory"), (["local"], None)],
    ids=["none is alive", "another", "the same"],
)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The address of a run store of this test's own."""
    return f"sqlite:///{tmp_path}/runs.db"


async def begin(url: str, flags: list[str]) -> None:
    """Give the run store replicas that are alive, one a flag."""
    store, now = open_run_store(url), SystemClock().now()
    for flag in flags:
        replica = Replica(replica_id=flag, provider=flag, definition="d", version="1", seen_at=now)
        await store.replicas.beat(replica)
    await store.close()


@FLAGS
async def test_the_doctor_names_the_flag_of_the_service(
    url: str, flags: list[str], foreign: str | None
) -> None:
    """An emit from here would go elsewhere; that is a warning, with the value to set."""
    await begin(url, flags)
    environ = {"ORCHESTRATOR_PROVIDER": "local", "TURNOUT_DATABASE_URL": url}
    checks = {check.name: check for check in await examine(environ, APP)}
    replicas = checks["replicas"]
    assert (f"ORCHESTRATOR_PROVIDER={foreign}" in replicas.fix) == (foreign is not None)
    assert (replicas.health is Health.OK) == (flags == ["local"])


@FLAGS
def test_an_emit_warns_of_the_flag_of_the_service(
    url: str,
    flags: list[str],
    foreign: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On stderr, with exit code 0: the event is recorded, and its runs have their provider."""
    asyncio.run(begin(url, flags))
    monkeypatch.setenv("ORCHESTRATOR_PROVIDER", "local")
    monkeypatch.setenv("TURNOUT_DATABASE_URL", url)
    command = ["emit", "agent/run.requested", "--payload", '{"agent_id": "a"}', "--app", APP]
    with pytest.raises(SystemExit) as ended:
        run(command)
    assert not ended.value.code
    assert (f"the service that is running has {foreign}" in capsys.readouterr().err) == bool(
        foreign
    )
