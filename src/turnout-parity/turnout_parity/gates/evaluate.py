"""Evaluates the gates of every task, and takes the worst."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from turnout_parity.gates.gate_file import GateFile, TaskGates
from turnout_parity.gates.rates import EXACT, match_gate, never_gate, no_pairs, set_aside_gate
from turnout_parity.gates.times import time_gates
from turnout_parity.report import GateResult, GatesReport, TaskCount, TaskVerdict, Verdict

TaskTimes = tuple[Sequence[float], Sequence[float]]
"""Milliseconds of overhead by pair, in the order of the runs: of the primary, of the shadow."""

NOT_ALIKE: Final = (
    'a primary works while its shadow replays, so their times are not alike; times = "primary"'
    ' in the gate file compares them nevertheless, times = "waived" does without'
)


def evaluate(
    tasks: Mapping[str, TaskCount], times: Mapping[str, TaskTimes], file: GateFile
) -> GatesReport:
    """Say for every task whether its pairs are evidence enough.

    A task that the file names and that no pair was seen of is INCONCLUSIVE.
    """
    names = sorted({*tasks, *file.tasks})
    verdicts = [
        _task(name, tasks.get(name, TaskCount()), times.get(name, ((), ())), file.gates(name))
        for name in names
    ]
    return GatesReport(
        verdict=worst(entry.verdict for entry in verdicts),
        gate_file_sha256=file.digest,
        tasks=verdicts,
    )


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return FAIL if any is, else INCONCLUSIVE if any is; without any there is no evidence."""
    present = set(verdicts)
    for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE):
        if verdict in present:
            return verdict
    return Verdict.PASS if present else Verdict.INCONCLUSIVE


def _task(name: str, task: TaskCount, times: TaskTimes, gates: TaskGates) -> TaskVerdict:
    results = [never_gate(task), set_aside_gate(task, share=gates.set_aside)]
    for gate in EXACT:
        rate = gates.output_rate if gate == "output" else gates.match_rate
        if task.pairs:
            results.append(match_gate(gate, task, rate=rate, alpha=gates.alpha))
        else:
            results.append(no_pairs(gate))
    results += _times(times, gates)
    return TaskVerdict(task=name, verdict=worst(entry.verdict for entry in results), gates=results)


def _times(times: TaskTimes, gates: TaskGates) -> list[GateResult]:
    match gates.times:
        case "primary":
            return time_gates(*times, gates)
        case "waived":
            return []
    pairs = len(times[0])
    return [GateResult(gate="slower", verdict=Verdict.INCONCLUSIVE, reason=NOT_ALIKE, pairs=pairs)]
