"""The commands of a move as an operator types them: first line, exit codes, failures."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.command_line import turnout
from turnout.model.replicas import Replica
from turnout.model.routing import DUAL
from turnout.service.clock import SystemClock
from turnout.stores.sql import open_run_store

pytestmark = pytest.mark.timeout(400)

FOUR = ("state now", "users affected", "safe to leave until", "next")


@pytest.fixture
def environ(folder: Path, made_up_adapters: None) -> dict[str, str]:
    """Settings of a service at dual, whose replicas have just given a sign of life."""
    url = f"sqlite:///{folder}/runs.db"
    asyncio.run(_beat(url, ["r1", "r2"], DUAL))
    return {"TURNOUT_DATABASE_URL": url, "TURNOUT_TZ": "Europe/Kyiv"}


async def _beat(url: str, names: list[str], provider: str) -> None:
    """Have replicas publish that they live; in a while they are gone, so that is ahead."""
    store, now = open_run_store(url), SystemClock().now()
    await store.flags.join("dual acme bolt", now)
    for name in names:
        replica = Replica(
            replica_id=name,
            provider=provider,
            definition="d",
            version="1",
            seen_at=now + 3_600_000,
            tasks={"order": "d"},
            routes=99,
        )
        await store.replicas.beat(replica)
    await store.close()


def test_a_move_is_typed_seen_and_kept(folder: Path, environ: dict[str, str]) -> None:
    """Twice is as good as once; the history says who and why."""
    move = ("move", "order", "--to", "ramp:25", "--by", "anna")
    assert turnout(folder, *move, **environ).returncode == 2
    planned = turnout(folder, *move, "--dry-run", **environ)
    assert (planned.returncode, "would change order" in planned.stdout) == (0, True)
    done = turnout(folder, *move, "--reason", "wave 1", "--ticket", "OPS-7", **environ)
    assert done.returncode == 0, done.stderr
    first, change, replicas = done.stdout.splitlines()
    assert first.startswith("development · sqlite:")
    assert "· dual acme bolt · way back: not proven yet ·" in first
    assert first.endswith("Europe/Kyiv")
    assert "order: dual (acme → bolt) → ramp 25 % (acme → bolt) at " in change
    assert replicas == "replicas 2/2"
    again = turnout(folder, *move, "--reason", "wave 1", "--json", **environ)
    assert json.loads(again.stdout)["tasks"][0]["already"] is True
    history = json.loads(turnout(folder, "history", "--json", **environ).stdout)["history"]
    assert [(row["who"], row["reason"], row["ticket"]) for row in history] == [
        ("anna", "wave 1", "OPS-7")
    ]
    status = turnout(folder, "status", **environ)
    assert status.returncode == 0, status.stderr
    assert "order: ramp 25 % (acme → bolt)" in status.stdout
    assert "next: turnout move order --to new --dry-run" in status.stdout


def test_a_refusal_says_what_to_do(folder: Path, environ: dict[str, str]) -> None:
    """Exit 4 and four lines; with --json the same in an object."""
    skip = ("move", "order", "--to", "new", "--reason", "at once")
    refused = turnout(folder, *skip, **environ)
    assert refused.returncode == 4
    assert "refused: order would skip ramp" in refused.stderr
    assert all(f"  {line}:" in refused.stderr for line in FOUR)
    failure = json.loads(turnout(folder, *skip, "--json", **environ).stdout)
    assert (failure["exit"], failure["failure"]["users"]) == (4, "no")
    unknown = turnout(folder, "move", "ordre", "--to", "dual", "--reason", "x", **environ)
    assert (unknown.returncode, "known: order" in unknown.stderr) == (2, True)


def test_a_rollback_that_cannot_be_verified_is_half_done(
    folder: Path, environ: dict[str, str]
) -> None:
    """The routes are written whatever the app's code does; status shows what is missing."""
    move = ("move", "order", "--to", "ramp:25", "--reason", "wave 1")
    assert turnout(folder, *move, **environ).returncode == 0
    back = ("rollback", "order", "--reason", "errors", "--app", "nowhere:app")
    assert turnout(folder, *back, "--dry-run", **environ).returncode == 0
    done = turnout(folder, *back, **environ)
    assert done.returncode == 5
    assert "2 of 3 steps; not schedules armed at the old provider" in done.stderr
    assert all(f"  {line}:" in done.stderr for line in FOUR)
    status = turnout(folder, "status", **environ)
    assert status.returncode == 1
    assert "order: old (acme → bolt)" in status.stdout
    assert "ROLLBACK 2 of 3 steps, not: schedules armed at the old provider" in status.stdout
    assert "next: turnout rollback order --reason …" in status.stdout
    assert turnout(folder, "rollback", "--all", "--reason", "x", **environ).returncode == 0


def test_a_flag_that_names_a_provider_is_met_by_name(folder: Path, environ: dict[str, str]) -> None:
    """A rollback that replicas would ignore is refused; the first line says so, too."""
    asyncio.run(_beat(environ["TURNOUT_DATABASE_URL"], ["r2", "r3"], "bolt"))
    done = turnout(folder, "rollback", "order", "--reason", "errors", **environ)
    assert done.returncode == 4
    assert "routes are ignored by 2 replica(s): r2 (ORCHESTRATOR_PROVIDER=bolt)" in done.stderr
    assert "way back: CLOSED" in done.stdout
