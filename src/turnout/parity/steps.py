"""Compare two documents of one step: attempts, delays, output."""

from typing import Any

from turnout.model.artifacts import AttemptEntry, StatusDocument, StepDocument
from turnout.model.keys import STATUS
from turnout.model.status import AttemptState, StepKind
from turnout.parity.differ import Change, differences
from turnout.parity.explain import Explainer
from turnout.parity.heads import Bounds, StepPair, mark
from turnout.parity.noise import looks_like_noise
from turnout.parity.report import Kind, Source
from turnout.parity.tally import Compared


def compare_attempts(
    found: Compared, pair: StepPair, primary: StepDocument, shadow: StepDocument
) -> None:
    """Compare how often a step was tried and how each try ended; interrupted ones do not count."""
    ours, theirs = counted(primary), counted(shadow)
    found.tested[(Kind.ATTEMPTS, Source.OURS)] += 1
    if len(ours) != len(theirs):
        change = Change(pointer="/attempts", primary=len(ours), shadow=len(theirs))
        detail = "the number of tries that count"
        mark(
            found, change, artifact=pair.primary, kind=Kind.ATTEMPTS, step=pair.step, detail=detail
        )
        return
    for place, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        for change in differences(_told(one), _told(other)):
            moved = Change(
                pointer=f"/attempts/{place}{change.pointer}",
                primary=change.primary,
                shadow=change.shadow,
            )
            mark(found, moved, artifact=pair.primary, kind=Kind.ATTEMPTS, step=pair.step)


def compare_delays(
    found: Compared, pair: StepPair, primary: StepDocument, shadow: StepDocument, bounds: Bounds
) -> None:
    """Compare the pauses between tries: no earlier than planned, not much later than there."""
    ours, theirs = counted(primary), counted(shadow)
    for place in range(min(len(ours), len(theirs)) - 1):
        if ours[place].outcome not in {AttemptState.FAILED, AttemptState.TIMED_OUT}:
            continue
        found.tested[(Kind.DELAY, Source.OURS)] += 1
        gap, other = _gap(ours, place), _gap(theirs, place)
        planned = _planned(ours[place], gap)
        earliest = planned * (1 - bounds.early_share) - bounds.early_ms
        latest = max(gap, planned) + bounds.late_ms
        if not earliest <= other <= latest:
            change = Change(pointer=f"/attempts/{place + 1}/started_at", primary=gap, shadow=other)
            detail = f"ms after the try before; from {earliest:,.0f} to {latest:,.0f} is taken"
            mark(
                found,
                change,
                artifact=pair.primary,
                kind=Kind.DELAY,
                step=pair.step,
                detail=detail,
            )


def compare_step(
    found: Compared, pair: StepPair, primary: StepDocument, shadow: StepDocument
) -> None:
    """Compare what a step is and how it ended; its place is compared by the manifests."""
    if primary.step != shadow.step or primary.kind is not shadow.kind:
        names = [f"{each.kind} {each.step}" for each in (primary, shadow)]
        change = Change(pointer="/step", primary=names[0], shadow=names[1])
        mark(found, change, artifact=pair.primary, kind=Kind.STEP, step=pair.step)
    found.tested[(Kind.STEP, Source.OURS)] += 1
    if primary.state is not shadow.state:
        change = Change(pointer="/state", primary=primary.state.value, shadow=shadow.state.value)
        mark(found, change, artifact=pair.primary, kind=Kind.STEP, step=pair.step)
    ours = primary.error.model_dump() if primary.error else None
    theirs = shadow.error.model_dump() if shadow.error else None
    for change in differences({"error": ours}, {"error": theirs}):
        mark(found, change, artifact=pair.primary, kind=Kind.OUTPUT, step=pair.step)


def compare_values(
    found: Compared,
    values: tuple[Any, Any],
    *,
    below: str,
    artifact: str,
    source: Source,
    explain: Explainer,
    step: str | None = None,
    executed: bool = False,
) -> None:
    """Compare two results; in `execute`, what looks like a clock or a die is labelled so."""
    changes = differences(*values)
    detail = explain(*values) if changes else None
    for change in changes:
        noisy = executed and looks_like_noise(change.primary, change.shadow)
        moved = Change(pointer=below + change.pointer, primary=change.primary, shadow=change.shadow)
        mark(
            found,
            moved,
            artifact=artifact,
            kind=Kind.OUTPUT,
            step=step,
            source=source,
            label="noise-like" if noisy else None,
            detail="the same objects in another order" if change.reordered else detail,
        )
        detail = None


def compare_totals(found: Compared, primary: StatusDocument, shadow: StatusDocument) -> None:
    """Report another number of attempts where no step has already told it."""
    told = any(each.kind in {Kind.ATTEMPTS, Kind.STEP} for each in found.differences)
    if primary.attempts != shadow.attempts and not told:
        change = Change(pointer="/attempts", primary=primary.attempts, shadow=shadow.attempts)
        mark(found, change, artifact=STATUS, kind=Kind.ATTEMPTS)


def output_source(shadow: StatusDocument, kind: StepKind) -> Source:
    """Say on what ground outputs are equal: replayed and mocked ones by construction."""
    ran = shadow.shadow_mode == "execute" and kind is StepKind.STEP
    return Source.OURS if ran else Source.CONSTRUCTION


def counted(document: StepDocument) -> list[AttemptEntry]:
    """List the attempts that count."""
    return [each for each in document.attempts if each.outcome is not AttemptState.INTERRUPTED]


def _told(attempt: AttemptEntry) -> dict[str, Any]:
    return {
        "outcome": attempt.outcome.value,
        "error": attempt.error.model_dump() if attempt.error else None,
    }


def _gap(attempts: list[AttemptEntry], place: int) -> int:
    before = attempts[place]
    return attempts[place + 1].started_at - before.started_at - before.duration_ms


def _planned(attempt: AttemptEntry, gap: int) -> int:
    if attempt.retry_at is None:
        return gap
    return attempt.retry_at - attempt.started_at - attempt.duration_ms
