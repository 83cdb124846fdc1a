"""Runs of a live service against the offline server: all are started together, then read."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import inngest_tasks
import orjson
import pytest
from inngest_stage import Stage, ended, start, until

from turnout import Event, Turnout
from turnout.model.reports import Cancelled, RunReport
from turnout.model.status import RunStatus

TASKS = (
    *("plain", "retried", "asleep", "waiting", "unanswered", "abreast", "wide", "overtaken"),
    *("parent", "failing", "hooked", "long"),
)


@dataclass
class Played:
    """What became of every run."""

    reports: dict[str, RunReport] = field(default_factory=dict)
    traces: dict[str, list[str]] = field(default_factory=dict)
    cancelled: Cancelled | None = None
    again: Cancelled | None = None
    defined: list[str] = field(default_factory=list)

    def result(self, name: str) -> Any:
        result = self.reports[name].journal.run.result
        return None if result is None else orjson.loads(result)

    def state(self, name: str) -> RunStatus:
        return self.reports[name].journal.run.state


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Play everything once."""
    return asyncio.run(_play(tmp_path_factory.mktemp("stage")))


async def _play(folder: Path) -> Played:
    stage, played = Stage(folder), Played()
    async with stage.server(), stage.service(inngest_tasks.everything) as live:
        played.defined = list(await live.callers["inngest"].defined())
        runs = {name: await start(live, f"do/{name}", {"who": name}) for name in TASKS}
        stopped = [await start(live, "do/stoppable", {"who": who}) for who in ("us", "event")]
        await asyncio.gather(
            _tell(live, runs), _stop(live, stopped[0], played), _stop_by_event(live, stopped[1])
        )
        runs |= {"stopped": stopped[0], "stopped by event": stopped[1]}
        reports = await asyncio.gather(*(ended(live, run_id) for run_id in runs.values()))
        played.reports = dict(zip(runs, reports, strict=True))
        await until(_mourned)
        for name, report in played.reports.items():
            played.traces[name] = await stage.trace(report)
    return played


async def _mourned() -> bool | None:
    return "mourned hooked" in inngest_tasks.tried or None


async def _tell(live: Turnout, runs: dict[str, str]) -> None:
    await _parked(live, runs["waiting"], "event")
    await _asked(live, runs["overtaken"], "slow")
    yes = [Event(name="said/yes", payload={"who": who}) for who in ("nobody", "waiting")]
    await live.orchestrator.emit(*yes, Event(name="said/go", payload={"who": "overtaken"}))


async def _stop(live: Turnout, run_id: str, played: Played) -> None:
    await _parked(live, run_id, "sleep")
    played.cancelled = await live.orchestrator.cancel(run_id)
    played.again = await live.orchestrator.cancel(run_id)


async def _stop_by_event(live: Turnout, run_id: str) -> None:
    await _parked(live, run_id, "sleep")
    await live.orchestrator.emit(Event(name="said/stop", payload={"who": "event"}))


async def _parked(live: Turnout, run_id: str, reason: str) -> None:
    async def look() -> bool | None:
        run = (await live.orchestrator.status(run_id)).journal.run
        return reason in run.parked_for or None

    await until(look)


async def _asked(live: Turnout, run_id: str, step: str) -> None:
    async def look() -> bool | None:
        return bool((await live.orchestrator.status(run_id)).journal.attempts.get(step)) or None

    await until(look)


def test_a_plain_run_completes(played: Played) -> None:
    """Three steps, each run once; the vendor says completed too, and shows the attempts."""
    assert played.result("plain") == 3
    seen = played.reports["plain"].sighting
    assert seen is not None
    assert (seen.state, seen.word) == (RunStatus.COMPLETED, "COMPLETED")
    assert seen.evidence["source"].startswith("/v2/runs/")
    assert played.traces["plain"] == ["one #1", "two #1", "three #1"]


def test_the_server_lists_every_task(played: Played) -> None:
    """Tasks are read back from the server, the failure hook among them."""
    assert set(played.defined) == {
        *(each.id for each in inngest_tasks.everything.tasks),
        "hooked.on-failure",
    }


def test_a_step_is_tried_again_after_the_declared_delay(played: Played) -> None:
    """Delays are ours, not the vendor's table; each attempt is a vendor step of its own."""
    assert played.result("retried") == "shaky"
    first, second, third = inngest_tasks.tried["shaky"]
    assert second - first >= 0.2
    assert third - second >= 0.4
    assert third - first < 10
    assert played.traces["retried"] == ["shaky #1", "shaky #2", "shaky #3"]


def test_a_sleep_ends_in_time(played: Played) -> None:
    """The vendor rounds to whole seconds; the rest is waited in process, never less."""
    before, after = played.result("asleep")
    assert 1.6 <= after - before < 6


def test_an_event_meets_the_wait_that_it_matches(played: Played) -> None:
    """An event for another run leaves the wait alone."""
    assert played.result("waiting") == {"who": "waiting"}


def test_a_wait_times_out(played: Played) -> None:
    """Without the event the run goes on at the timeout."""
    assert played.result("unanswered") is True


def test_a_branch_does_not_wait_for_the_delay_of_another(played: Played) -> None:
    """A branch has more steps than the other has tries; were they in step, the other would fail."""
    assert played.state("abreast") is RunStatus.COMPLETED
    assert len(inngest_tasks.tried["joined"]) == 1


def test_parallel_steps_one_group_after_the_other(played: Played) -> None:
    """Each of the thirteen steps is a vendor step, once."""
    assert played.result("wide") == 3
    steps = [name for name in played.traces["wide"] if name.startswith("w")]
    assert sorted(steps) == sorted(f"w{turn}-{n} #1" for turn in range(3) for n in range(4))


def test_an_event_is_met_while_another_branch_works(played: Played) -> None:
    """The step behind the event does not wait for the slow step beside it."""
    slow, met, behind = played.result("overtaken")
    assert met < slow <= behind


def test_an_invoked_task_hands_back_its_result(played: Played) -> None:
    """The parent parks without a vendor step in flight, and is woken by the child's end."""
    assert played.result("parent") == 13


def test_a_failed_run_fails_at_the_vendor(played: Played) -> None:
    """With the error's name and message."""
    assert played.state("failing") is RunStatus.FAILED
    seen = played.reports["failing"].sighting
    assert seen is not None
    assert seen.state is RunStatus.FAILED


def test_a_failure_hook_runs(played: Played) -> None:
    """It is a run of its own, of a function of its own."""
    assert played.state("hooked") is RunStatus.FAILED
    assert len(inngest_tasks.tried["mourned hooked"]) == 1


@pytest.mark.parametrize("name", ["stopped", "stopped by event"])
def test_a_cancelled_run_is_cancelled_at_the_vendor(played: Played, name: str) -> None:
    """By us or by an event: confirmed by reading the server."""
    assert played.state(name) is RunStatus.CANCELLED
    seen = played.reports[name].sighting
    assert seen is not None
    assert seen.state is RunStatus.CANCELLED


def test_a_cancel_is_confirmed_once(played: Played) -> None:
    """A second cancel changes nothing and says so."""
    assert played.cancelled is not None
    assert (played.cancelled.changed, played.cancelled.confirmed) == (True, True)
    assert played.again is not None
    assert (played.again.changed, played.again.confirmed) == (False, True)
