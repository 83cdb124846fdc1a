"""The verdicts that let a task go on: those of `turnout parity check`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from turnout_parity.check import check
from turnout_parity.gates.gate_file import read_gates
from turnout_parity.report import ParityReport, TaskVerdict, Verdict

from turnout.errors import InvalidSettings
from turnout.model.canonical import canonical_bytes
from turnout.service.settings import Settings
from turnout.stores.artifacts import open_store


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The verdict on one task."""

    verdict: str
    text: str
    """Why, where it is not PASS."""
    digest: str
    """Of the verdict with its gates and their counts."""

    @property
    def passed(self) -> bool:
        """Whether the task may go on."""
        return self.verdict == Verdict.PASS


async def evidence(settings: Settings, gates: Path, tasks: Sequence[str]) -> Mapping[str, Evidence]:
    """Compare the runs in the artifact store, and give the verdict on each of the tasks.

    InvalidSettings where there is no such gate file, or nowhere to read artifacts from.
    """
    if settings.artifacts is None:
        raise InvalidSettings("gates are judged by artifacts, and TURNOUT_ARTIFACTS is none")
    file = read_gates(gates)
    store = open_store(settings.artifacts, settings.raw)
    try:
        report = await check(store, gates=file, name=settings.artifacts)
    finally:
        await store.aclose()
    return {task: evidence_of(report, task) for task in tasks}


def evidence_of(report: ParityReport, task: str) -> Evidence:
    """Return the verdict of a report on one task; a task without pairs has none to rest on."""
    verdicts = () if report.gates is None else report.gates.tasks
    for verdict in verdicts:
        if verdict.task == task:
            return _of_verdict(verdict)
    return Evidence(
        verdict=Verdict.INCONCLUSIVE,
        text="no pair of its runs was seen",
        digest=_digest({"task": task, "pairs": 0}),
    )


def _of_verdict(verdict: TaskVerdict) -> Evidence:
    reasons = [
        f"{gate.gate}: {gate.reason}" for gate in verdict.gates if gate.verdict == verdict.verdict
    ]
    passed = verdict.verdict == Verdict.PASS
    return Evidence(
        verdict=verdict.verdict,
        text="" if passed else "; ".join(reasons),
        digest=_digest(verdict.model_dump(mode="json")),
    )


def _digest(document: object) -> str:
    return sha256(canonical_bytes(document)).hexdigest()
