"""Shadows that may still come, and stores that never saw a dual run."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_parity.measured_status import MeasuredStatus, StateChange
from turnout_parity.report import ParityReport, Verdict
from turnout_parity.rules import PATIENCE, Rules
from turnout_parity.run_documents import RunDocuments
from turnout_parity.set_aside import not_due
from turnout_parity.window import DualRunWindow

from turnout.model.parity_window import Span
from turnout.model.status import RunStatus
from turnout.model.time import as_datetime

START = 1_770_000_000_000
"""When runs are emitted; they end half a second later."""
LAG = 60_000
LATEST = START + 500 + LAG + PATIENCE


def at(ms: int) -> datetime:
    """Give a moment."""
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=ms)


def window(shelf: Any, until: int | None = None, lag: int | None = LAG) -> None:
    """Write the window of a dual run that began before the runs."""
    end = None if until is None else at(until)
    span = {"since": at(START - 1_000), "until": end, "lag_ms": lag}
    document = {"schema": "turnout/parity-window@1", "spans": [span]}
    shelf.write("parity-window.json", orjson.dumps(document))


def told(report: ParityReport) -> tuple[Verdict, int, int, int, int]:
    """Give the verdict, and what became of pairs."""
    return report.verdict, report.pairs, report.missing, report.late, report.not_due


@pytest.mark.parametrize("now", [START + 600, START + LAG + 1, LATEST - 1])
async def test_a_shadow_that_may_still_come_is_no_mismatch(
    shelf: Any, run_spec: Any, now: int
) -> None:
    """Before its lag and the patience have passed it is not due, and counted as such."""
    window(shelf)
    shelf.pair("pair")
    shelf.put(run_spec("alone"))
    report = await shelf.check(now=at(now))
    assert told(report) == (Verdict.PASS, 1, 0, 0, 1)
    assert [(each.run_id, each.why) for each in report.set_aside] == [("alone", "not_due")]
    assert report.tasks["agent-run"].not_due == 1
    assert any("not compared yet: 1" in reason for reason in report.reasons)


async def test_a_shadow_that_never_comes_fails(shelf: Any, run_spec: Any) -> None:
    """When the patience has passed it is missing."""
    window(shelf)
    shelf.put(run_spec("alone"))
    assert told(await shelf.check(now=at(LATEST))) == (Verdict.FAIL, 1, 1, 0, 0)


async def test_only_shadows_that_may_come_are_inconclusive(shelf: Any, run_spec: Any) -> None:
    """Nothing was compared yet."""
    window(shelf)
    shelf.put(run_spec("alone"))
    assert told(await shelf.check(now=at(START + 600))) == (Verdict.INCONCLUSIVE, 0, 0, 0, 1)


@pytest.mark.parametrize("until", [None, START + LAG + 10_000])
@pytest.mark.parametrize("gone", ["status.json", "steps/0000-load.json"])
async def test_a_shadow_with_a_manifest_has_ended(
    shelf: Any, run_spec: Any, gone: str, until: int | None
) -> None:
    """Its manifest is written last: a document that is not there now never comes."""
    window(shelf, until)
    shelf.put(run_spec("r"))
    shelf.put(run_spec("r-dryrun"), without=(gone,))
    verdict, pairs, _, late, unfinished = told(await shelf.check(now=at(START + LAG + 5_000)))
    assert (verdict, pairs, late, unfinished) == (Verdict.FAIL, 1, 0, 0)


@pytest.mark.parametrize(("later", "verdict"), [(59_999, "INCONCLUSIVE"), (60_000, "FAIL")])
async def test_a_shadow_that_ended_has_its_manifest_soon(
    shelf: Any, run_spec: Any, later: int, verdict: str
) -> None:
    """An end in its status says that nothing is on its way a minute later."""
    window(shelf)
    shelf.put(run_spec("r"))
    shelf.put(run_spec("r-dryrun", start=START + LAG), without=("manifest.json",))
    report = await shelf.check(now=at(START + LAG + 500 + later))
    assert report.verdict == Verdict(verdict)


async def test_a_shadow_under_way_is_no_mismatch(shelf: Any, run_spec: Any) -> None:
    """It has a status and no manifest yet; past the patience that is a difference."""
    window(shelf)
    shelf.put(run_spec("r"))
    shelf.put(run_spec("r-dryrun", state="running"), without=("manifest.json",))
    report = await shelf.check(now=at(LATEST - 1))
    assert told(report) == (Verdict.INCONCLUSIVE, 0, 0, 0, 1)
    assert "on its way" in report.set_aside[0].reason
    assert (await shelf.check(now=at(LATEST))).verdict is Verdict.FAIL


async def test_a_corrupt_shadow_is_never_waited_for(shelf: Any, run_spec: Any) -> None:
    """An invalid document is a difference at once, and is not awaited."""
    window(shelf)
    shelf.put(run_spec("r"))
    shelf.write("runs/r-dryrun/status.json", b"{")
    assert (await shelf.check(now=at(START + 600))).verdict is Verdict.FAIL


@pytest.mark.parametrize(("until", "due"), [(START + LAG, False), (START + LAG + 2_000, True)])
async def test_a_dual_run_that_ended_owes_only_what_was_due(
    shelf: Any, run_spec: Any, until: int, due: bool
) -> None:
    """A shadow that was due before the end must be there; one that was not never comes."""
    window(shelf, until)
    shelf.pair("pair")
    shelf.put(run_spec("alone"))
    expected = (Verdict.FAIL, 2, 1, 0, 0) if due else (Verdict.PASS, 1, 0, 0, 1)
    for now in (until, LATEST + 1_000_000):
        assert told(await shelf.check(now=at(now))) == expected


async def test_a_shadow_that_the_end_cut_off_is_not_compared(shelf: Any, run_spec: Any) -> None:
    """Unless it had had all its time before the dual run ended."""
    shelf.put(run_spec("r"))
    shelf.put(run_spec("r-dryrun", state="running"), without=("manifest.json",))
    window(shelf, START + LAG + 2_000)
    assert told(await shelf.check())[4] == 1
    window(shelf, LATEST + 1)
    assert (await shelf.check()).verdict is Verdict.FAIL


@pytest.mark.parametrize("rules", [None, Rules(patience=None)])
async def test_nothing_is_waited_for_without_a_lag_or_a_patience(
    shelf: Any, run_spec: Any, rules: Rules | None
) -> None:
    """A window that states no lag cannot tell, and a caller may know that all is there."""
    window(shelf, lag=None if rules is None else LAG)
    shelf.put(run_spec("alone"))
    assert told(await shelf.check(now=at(START + 600), rules=rules)) == (Verdict.FAIL, 1, 1, 0, 0)


@given(lag=st.integers(0, 10**9), passed=st.integers(0, 2 * 10**9), patience=st.integers(0, 10**7))
def test_every_shadow_is_missing_in_the_end(lag: int, passed: int, patience: int) -> None:
    """While the dual run goes on, waiting ends exactly at the primary's end + lag + patience."""
    kept = DualRunWindow(spans=(Span(since=at(START), lag_ms=lag),))
    side = RunDocuments(side="primary", name="r", status=_ended())
    found = not_due("r", side, None, kept, now=START + passed, patience=patience)
    assert (found is not None) == (passed < 500 + lag + patience)


async def test_a_store_that_saw_no_dual_run_says_so(shelf: Any, run_spec: Any) -> None:
    """It cannot tell anything: no run was to have a twin. The reason names what is absent."""
    empty = await shelf.check()
    shelf.put(run_spec("alone"))
    report = await shelf.check()
    assert report.verdict is Verdict.INCONCLUSIVE
    for each in (empty, report):
        assert "no dual run was seen: there is no parity-window.json" in each.reasons[-1]


async def test_a_store_with_a_shadow_or_a_window_saw_one(shelf: Any, run_spec: Any) -> None:
    """Then the hint would be wrong."""
    shelf.pair("pair")
    shelf.put(run_spec("alone"))
    assert not any("no dual run" in each for each in (await shelf.check()).reasons)


async def test_a_window_alone_says_that_there_was_one(shelf: Any, run_spec: Any) -> None:
    """All its shadows are missing, which is another fault."""
    window(shelf)
    shelf.put(run_spec("alone"))
    assert not any("no dual run" in each for each in (await shelf.check()).reasons)


def _ended() -> MeasuredStatus:
    """Only what tells when a shadow is due."""
    ended = StateChange(state=RunStatus.COMPLETED, at=as_datetime(START + 500))
    return MeasuredStatus.model_construct(
        task="t", state=RunStatus.COMPLETED, emitted_at=as_datetime(START), transitions=(ended,)
    )
