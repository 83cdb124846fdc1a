"""What `turnout demo` says where its journey did not go well."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
from turnout_demo.command import finish
from turnout_demo.journey import JourneyOutcome
from turnout_demo.ledger import Ledger, Slots
from turnout_parity.counts import Counts
from turnout_parity.pair_result import PairResult
from turnout_parity.summary import summary

from turnout.cli.extensions import CliDesk


def outcome(slots: Slots) -> JourneyOutcome:
    """An outcome whose only pair matches."""
    counts = Counts()
    counts.add(PairResult(run_id="a", task="t"))
    at = datetime(2026, 11, 21, tzinfo=UTC)
    report = summary(counts, store="", checked_at=at, duration_ms=1, ignores=(), warnings=())
    ledger = Ledger(emitted=1, completed=1, lost=0, doubled=0, slots=slots)
    return JourneyOutcome(report=report, ledger=ledger, phases={}, servers={})


@pytest.mark.parametrize("as_json", [True, False])
def test_exit_1_is_explained(
    as_json: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All pairs match, a slot was missed: stderr says so, and so do the JSON's reasons."""
    missed = outcome(Slots(due=1, missed=1, missed_at=("2026-11-21T08:11:00.000Z",)))
    with pytest.raises(typer.Exit) as ended:
        finish(CliDesk(), missed, tmp_path, 1.0, as_json=as_json, real_worker=False)
    out, err = capsys.readouterr()
    assert ended.value.exit_code == 1
    assert "not fired: 2026-11-21T08:11:00.000Z" in err
    if as_json:
        said = json.loads(out)
        assert said["verdict"] == "PASS"
        assert "not fired" in said["reasons"][0]


def test_exit_0_needs_no_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is said on stderr of a journey that went well."""
    with pytest.raises(typer.Exit) as ended:
        finish(CliDesk(), outcome(Slots()), tmp_path, 1.0, as_json=True, real_worker=False)
    assert (ended.value.exit_code, capsys.readouterr().err) == (0, "")
