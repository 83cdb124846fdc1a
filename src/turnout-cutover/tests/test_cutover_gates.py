"""Gates: only PASS lets users' runs go on, and the row keeps the digest of the verdict."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from turnout_cutover.changes import Signature
from turnout_cutover.gates import Evidence, evidence, evidence_of
from turnout_cutover.move_file import MoveFile
from turnout_cutover.moving import MoveRequest, move
from turnout_cutover.outcome import Exit, Stopped
from turnout_cutover.stages import read_target
from turnout_parity.report import GateResult, TaskVerdict, Verdict

from tests.operated_service import Service
from turnout.errors import InvalidSettings
from turnout.service.settings import Settings

ANNA = Signature(operator="anna", reason="wave 1")


class Judge:
    """Gives one verdict on every task, and counts how often it was asked."""

    def __init__(self, verdict: str) -> None:
        self.verdict = verdict
        self.questions: list[Sequence[str]] = []

    async def __call__(self, _settings: Any, _gates: Path, tasks: Sequence[str]) -> Any:
        """Give it."""
        self.questions.append(tasks)
        return {task: Evidence(verdict=self.verdict, text="why", digest="d" * 64) for task in tasks}


def asked(to: str, **options: Any) -> MoveRequest:
    """Make a request."""
    return MoveRequest(tasks=("order",), target=read_target(to), signature=ANNA, **options)


@pytest.mark.parametrize("verdict", [Verdict.FAIL, Verdict.INCONCLUSIVE])
async def test_a_verdict_that_is_not_pass_refuses(service: Service, verdict: str) -> None:
    """With its reason; an override is kept, and the digest with it."""
    operations = service.operations(judge=Judge(verdict))
    with pytest.raises(Stopped, match=f"the gates of order say {verdict}: why") as refusal:
        await move(operations, asked("ramp:5", gates=Path("gates.toml")))
    assert refusal.value.exit is Exit.REFUSED
    assert await service.log.routes() == {}
    await move(operations, asked("ramp:5", gates=Path("gates.toml"), override="one customer"))
    (entry,) = await service.log.history()
    assert entry.evidence == "d" * 64
    assert entry.detail["override"] == "one customer"


async def test_the_digest_of_the_verdict_is_kept(service: Service) -> None:
    """The gate file may be declared instead of typed."""
    judge = Judge(Verdict.PASS)
    declared = MoveFile(gates=Path("gates.toml"))
    await move(service.operations(judge=judge, move_file=declared), asked("ramp:5"))
    assert judge.questions == [["order"]]
    (entry,) = await service.log.history()
    assert entry.evidence == "d" * 64


async def test_gates_count_for_users_runs_alone(service: Service) -> None:
    """Not for a way back, nor for a dual run, which is their evidence, nor for what is in place."""
    judge = Judge(Verdict.FAIL)
    operations = service.operations(judge=judge, move_file=MoveFile(gates=Path("gates.toml")))
    for to in ("old", "dual", "dual"):
        await move(operations, asked(to))
    assert judge.questions == []


async def test_artifacts_without_a_pair_are_inconclusive(tmp_path: Path) -> None:
    """A file that is not there, and artifacts that are not written, are named."""
    gates = tmp_path / "gates.toml"
    gates.write_text("")
    settings = Settings(artifacts=str(tmp_path))
    verdicts = await evidence(settings, gates, ["order"])
    assert verdicts["order"].verdict == Verdict.INCONCLUSIVE
    with pytest.raises(InvalidSettings, match="TURNOUT_ARTIFACTS"):
        await evidence(Settings(artifacts="none"), gates, ["order"])
    with pytest.raises(InvalidSettings, match=r"missing\.toml"):
        await evidence(settings, tmp_path / "missing.toml", ["order"])


def test_evidence_names_the_gates_that_decide() -> None:
    """Two verdicts that differ in a count differ in their digest."""

    class Report:
        """As much of a report as is read."""

        def __init__(self, pairs: int) -> None:
            gate = GateResult(gate="path", verdict=Verdict.FAIL, reason="3 differ", pairs=pairs)
            verdict = TaskVerdict(task="order", verdict=Verdict.FAIL, gates=[gate])
            self.gates = type("Gates", (), {"tasks": [verdict]})()

    first, second = (evidence_of(Report(pairs), "order") for pairs in (5, 6))  # type: ignore[arg-type]
    assert (first.verdict, first.text, first.passed) == ("FAIL", "path: 3 differ", False)
    assert first.digest != second.digest
