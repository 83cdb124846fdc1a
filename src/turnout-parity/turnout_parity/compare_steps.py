"""Compare the two documents of one step: state, attempts, delays; and any two values."""

from collections.abc import Sequence
from typing import Any

from turnout.model.documents import AttemptEntry, Source, StepDocument
from turnout.model.status import AttemptState, StepKind
from turnout_parity.compare_manifests import StepPair
from turnout_parity.json_diff import JsonChange, differences
from turnout_parity.measured_status import MeasuredStatus
from turnout_parity.noise import looks_like_noise
from turnout_parity.pair_result import PairResult
from turnout_parity.report import Kind
from turnout_parity.rules import Bounds


def compare_step(
    result: PairResult, pair: StepPair, primary: StepDocument, shadow: StepDocument
) -> None:
    """Compare what a step is and how it ended; the manifests compare its place."""
    if primary.step != shadow.step or primary.kind is not shadow.kind:
        names = [f"{document.kind} {document.step}" for document in (primary, shadow)]
        change = JsonChange(pointer="/step", primary=names[0], shadow=names[1])
        result.differ(change, artifact=pair.primary, kind=Kind.STEP, step=pair.step)
    result.count(Kind.STEP)
    if primary.state is not shadow.state:
        states = primary.state.value, shadow.state.value
        change = JsonChange(pointer="/state", primary=states[0], shadow=states[1])
        result.differ(change, artifact=pair.primary, kind=Kind.STEP, step=pair.step)
    errors = [
        {"error": document.error.model_dump() if document.error else None}
        for document in (primary, shadow)
    ]
    for change in differences(*errors):
        result.differ(change, artifact=pair.primary, kind=Kind.OUTPUT, step=pair.step)


def compare_attempts(
    result: PairResult, pair: StepPair, primary: StepDocument, shadow: StepDocument
) -> None:
    """Compare how often a step was tried, and how each attempt ended."""
    attempts = counted(primary), counted(shadow)
    place: dict[str, Any] = {"artifact": pair.primary, "kind": Kind.ATTEMPTS, "step": pair.step}
    result.count(Kind.ATTEMPTS)
    if len(attempts[0]) != len(attempts[1]):
        change = JsonChange(pointer="/attempts", primary=len(attempts[0]), shadow=len(attempts[1]))
        result.differ(change, **place, detail="the number of attempts that count")
        return
    for number, (entry, twin) in enumerate(zip(*attempts, strict=True)):
        for change in differences(_ending(entry), _ending(twin)):
            result.differ(change.below(f"/attempts/{number}"), **place)


def compare_delays(
    result: PairResult,
    pair: StepPair,
    primary: StepDocument,
    shadow: StepDocument,
    bounds: Bounds,
) -> None:
    """Compare the delays between attempts: not before the plan, not long after the primary's."""
    attempts, twins = counted(primary), counted(shadow)
    for place in range(min(len(attempts), len(twins)) - 1):
        if attempts[place].outcome not in {AttemptState.FAILED, AttemptState.TIMED_OUT}:
            continue
        result.count(Kind.DELAY)
        delay, twin_delay = _delay(attempts, place), _delay(twins, place)
        planned = _planned_delay(attempts[place], delay)
        earliest = planned * (1 - bounds.early_share) - bounds.early_ms
        latest = max(delay, planned) + bounds.late_ms
        if not earliest <= twin_delay <= latest:
            pointer = f"/attempts/{place + 1}/started_at"
            result.differ(
                JsonChange(pointer=pointer, primary=delay, shadow=twin_delay),
                artifact=pair.primary,
                kind=Kind.DELAY,
                step=pair.step,
                detail=f"ms after the attempt before; allowed: {earliest:,.0f} to {latest:,.0f}",
            )


def compare_values(
    result: PairResult,
    primary: Any,
    shadow: Any,
    *,
    artifact: str,
    source: Source,
    step: str | None = None,
    executed: bool = False,
) -> None:
    """Compare two JSON values; in executed steps, clock times and random ids get a label."""
    changes = differences(primary, shadow)
    if changes:
        result.keep_values(primary, shadow)
    for change in changes:
        noisy = executed and looks_like_noise(change.primary, change.shadow)
        result.differ(
            change,
            artifact=artifact,
            kind=Kind.OUTPUT,
            step=step,
            source=source,
            label="noise-like" if noisy else None,
            detail="the same objects in another order" if change.reordered else None,
        )


def output_source(shadow: MeasuredStatus, kind: StepKind) -> Source:
    """Say why outputs are equal: those of replayed and mocked steps by construction."""
    executed = shadow.shadow_mode == "execute" and kind is StepKind.STEP
    return Source.RECORDED if executed else Source.CONSTRUCTION


def counted(document: StepDocument) -> list[AttemptEntry]:
    """List the attempts that count: all but those that a graceful stop interrupted."""
    return [entry for entry in document.attempts if entry.outcome is not AttemptState.INTERRUPTED]


def _ending(attempt: AttemptEntry) -> dict[str, Any]:
    error = attempt.error.model_dump() if attempt.error else None
    return {"outcome": attempt.outcome.value, "error": error}


def _delay(attempts: Sequence[AttemptEntry], place: int) -> int:
    attempt = attempts[place]
    return attempts[place + 1].started_at - attempt.started_at - attempt.duration_ms


def _planned_delay(attempt: AttemptEntry, measured: int) -> int:
    if attempt.retry_at is None:
        return measured
    return attempt.retry_at - attempt.started_at - attempt.duration_ms
