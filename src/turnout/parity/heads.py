"""Compare two runs by their status and manifest; say which steps must be read to know more."""

from dataclasses import dataclass
from typing import Any, Final

from turnout.model.artifacts import (
    ManifestDocument,
    StatusDocument,
    StepEntry,
    step_path,
)
from turnout.model.keys import MANIFEST, STATUS
from turnout.model.status import RunStatus, StepKind
from turnout.parity.differ import ABSENT, Change, differences
from turnout.parity.order import first_difference
from turnout.parity.overlap import Slot
from turnout.parity.report import Difference, Kind, Source
from turnout.parity.tally import Compared


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The hard bounds that hold without gates."""

    slow_ms: int = 5_000
    """A shadow may take so much more overhead than its primary."""
    late_ms: int = 5_000
    """A retry may come so much later than it did on the primary."""
    early_ms: int = 250
    early_share: float = 0.25
    """A retry may come earlier than the primary planned it by this share and `early_ms`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """The two documents of one side that every comparison starts from."""

    manifest: ManifestDocument
    status: StatusDocument


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPair:
    """One step that both sides have, and where its documents lie."""

    step: str
    primary: str
    shadow: str
    differs: bool
    """By their digests."""


def mark(found: Compared, change: Change, *, artifact: str, kind: Kind, **more: Any) -> None:
    """Add a difference where two documents differ."""
    absent = "primary" if change.primary is ABSENT else None
    found.differences.append(
        Difference(
            run_id=found.run_id,
            task=found.task,
            artifact=artifact,
            pointer=change.pointer,
            kind=kind,
            primary=None if change.primary is ABSENT else change.primary,
            shadow=None if change.shadow is ABSENT else change.shadow,
            absent="shadow" if change.shadow is ABSENT else absent,
            **{"source": Source.OURS, **more},
        )
    )


def compare_status(found: Compared, primary: StatusDocument, shadow: StatusDocument) -> None:
    """Compare how both runs went: state, path, error, task, key."""
    found.tested.update(_STATUS_FIELDS)
    if primary.state is not shadow.state:
        _mark_status(found, "/state", primary.state.value, shadow.state.value)
    if primary.task != shadow.task:
        _mark_status(found, "/task", primary.task, shadow.task, source=Source.CONSTRUCTION)
    if primary.key != shadow.key:
        _mark_status(found, "/key", primary.key, shadow.key, source=Source.CONSTRUCTION)
    if primary.error != shadow.error:
        _compare_errors(found, primary, shadow)
    _compare_paths(found, primary, shadow)
    if asked(primary, shadow.provider_state):
        found.tested[(Kind.STATUS, Source.PROVIDER)] += 1
        if primary.provider_state is not shadow.provider_state:
            states = [
                state and state.value for state in (primary.provider_state, shadow.provider_state)
            ]
            _mark_status(found, "/provider_state", *states, source=Source.PROVIDER)


def asked(primary: StatusDocument, shadow: object) -> bool:
    """Tell whether both providers were asked for their own state, and should agree.

    A run that we cancelled or timed out may end as either at a provider.
    """
    both = primary.provider_state is not None and shadow is not None
    return both and primary.state in {RunStatus.COMPLETED, RunStatus.FAILED}


def compare_overhead(
    found: Compared, primary: StatusDocument, shadow: StatusDocument, bounds: Bounds
) -> None:
    """Hold the one hard bound on time; without both overheads nothing is compared."""
    ours, theirs = primary.timings.overhead_ms, shadow.timings.overhead_ms
    if ours is None or theirs is None:
        return
    found.tested[(Kind.SLOW, Source.OURS)] += 1
    found.overhead = (float(ours), float(theirs))
    if theirs - ours > bounds.slow_ms:
        change = Change(pointer="/timings/overhead_ms", primary=ours, shadow=theirs)
        detail = f"{theirs - ours:,} ms more; the bound is {bounds.slow_ms:,} ms"
        mark(found, change, artifact=STATUS, kind=Kind.SLOW, detail=detail)


def compare_manifests(found: Compared, primary: ManifestDocument, shadow: ManifestDocument) -> None:
    """Compare which steps were asked for, in which order, by which code, under which limit."""
    found.tested.update(_MANIFEST_FIELDS)
    for name in ("code_version", "protocol"):
        ours, theirs = getattr(primary, name), getattr(shadow, name)
        if ours != theirs:
            change = Change(pointer=f"/{name}", primary=ours, shadow=theirs)
            more = {"source": Source.CONSTRUCTION, "detail": "the sides ran different versions"}
            mark(found, change, artifact=MANIFEST, kind=Kind.STATUS, **more)
    if primary.concurrency != shadow.concurrency:
        _limits(found, primary, shadow)
    _mark_doubled(found, primary, shadow)
    if primary.steps != shadow.steps:
        _compare_steps(found, primary, shadow)
    if primary.unasked != shadow.unasked:
        change = Change(
            pointer="/unasked", primary=list(primary.unasked), shadow=list(shadow.unasked)
        )
        mark(found, change, artifact=MANIFEST, kind=Kind.STEP)


def step_pairs(primary: ManifestDocument, shadow: ManifestDocument) -> list[StepPair]:
    """Pair the documents of the steps that both sides have."""
    ours = {entry.path: entry.parity_sha256 for entry in primary.documents}
    theirs = {entry.path: entry.parity_sha256 for entry in shadow.documents}
    other = {entry.step: entry for entry in shadow.steps}
    pairs: list[StepPair] = []
    for entry in primary.steps:
        twin = other.get(entry.step)
        if twin is None:
            continue
        path, twin_path = step_path(entry.index, entry.step), step_path(twin.index, twin.step)
        digest = ours.get(path)
        differs = digest is None or digest != theirs.get(twin_path)
        pairs.append(StepPair(step=entry.step, primary=path, shadow=twin_path, differs=differs))
    return pairs


def has_retries(heads: Heads) -> bool:
    """Tell whether any step was tried more than once, so that there are delays to compare."""
    tried = sum(entry.kind is StepKind.STEP for entry in heads.manifest.steps)
    return heads.status.attempts > tried


def hollow(heads: Heads) -> bool:
    """Tell whether a run tried steps and its manifest lists none."""
    return heads.status.attempts > 0 and not heads.manifest.steps


def slot_of(status: StatusDocument, manifest: ManifestDocument) -> Slot | None:
    """Say what a run held of its concurrency key; None without a limit, or if it never ran."""
    limit = manifest.concurrency
    running = [each.at for each in status.transitions if each.state.value == "running"]
    ended = [each.at for each in status.transitions if each.state.terminal]
    if limit is None or not running or not ended:
        return None
    return Slot(
        task=status.task,
        key=limit.key,
        limit=limit.limit,
        start_ms=float(running[0]),
        end_ms=float(ended[-1]),
    )


_STATUS_FIELDS: Final = {
    (Kind.STATUS, Source.OURS): 1,
    (Kind.TRANSITIONS, Source.OURS): 1,
    (Kind.ATTEMPTS, Source.OURS): 1,
}
_MANIFEST_FIELDS: Final = {(Kind.STEP, Source.OURS): 1, (Kind.ORDER, Source.OURS): 1}


def _mark_status(found: Compared, pointer: str, ours: Any, theirs: Any, **more: Any) -> None:
    change = Change(pointer=pointer, primary=ours, shadow=theirs)
    mark(found, change, artifact=STATUS, kind=Kind.STATUS, **more)


def _compare_errors(found: Compared, primary: StatusDocument, shadow: StatusDocument) -> None:
    ours = primary.error.model_dump() if primary.error else None
    theirs = shadow.error.model_dump() if shadow.error else None
    for change in differences({"error": ours}, {"error": theirs}):
        mark(found, change, artifact=STATUS, kind=Kind.STATUS)


def _compare_paths(found: Compared, primary: StatusDocument, shadow: StatusDocument) -> None:
    ours = [each.state.value for each in primary.transitions]
    theirs = [each.state.value for each in shadow.transitions]
    # Another end is told by the state; the path is told for itself where it differs before.
    if ours == theirs or (ours[:-1] == theirs[:-1] and primary.state is not shadow.state):
        return
    change = Change(pointer="/transitions", primary=ours, shadow=theirs)
    mark(found, change, artifact=STATUS, kind=Kind.TRANSITIONS)


def _limits(found: Compared, primary: ManifestDocument, shadow: ManifestDocument) -> None:
    ours = primary.concurrency.model_dump() if primary.concurrency else None
    theirs = shadow.concurrency.model_dump() if shadow.concurrency else None
    for change in differences({"concurrency": ours}, {"concurrency": theirs}):
        mark(found, change, artifact=MANIFEST, kind=Kind.STATUS, source=Source.CONSTRUCTION)


def _compare_steps(found: Compared, primary: ManifestDocument, shadow: ManifestDocument) -> None:
    ours = {entry.step: (place, entry) for place, entry in enumerate(primary.steps)}
    theirs = {entry.step: (place, entry) for place, entry in enumerate(shadow.steps)}
    for step, (place, entry) in ours.items():
        if step not in theirs:
            _mark_step(found, place, _entry(entry), ABSENT, step)
        elif entry.kind is not theirs[step][1].kind:
            change = Change(
                pointer=f"/steps/{place}/kind",
                primary=entry.kind.value,
                shadow=theirs[step][1].kind.value,
            )
            mark(found, change, artifact=MANIFEST, kind=Kind.STEP, step=step)
    for step, (place, entry) in theirs.items():
        if step not in ours:
            _mark_step(found, place, ABSENT, _entry(entry), step)
    _compare_order(
        found,
        [entry for entry in primary.steps if entry.step in theirs],
        [entry for entry in shadow.steps if entry.step in ours],
        ours,
    )


def _compare_order(
    found: Compared,
    primary: list[StepEntry],
    shadow: list[StepEntry],
    places: dict[str, tuple[int, StepEntry]],
) -> None:
    place = first_difference(primary, shadow)
    if place is None:
        return
    ours, theirs = primary[place], shadow[place]
    name = "step" if ours.step != theirs.step else "branch"
    change = Change(
        pointer=f"/steps/{places[ours.step][0]}/{name}",
        primary=getattr(ours, name),
        shadow=getattr(theirs, name),
    )
    orders = " → ".join(e.step for e in primary), " → ".join(e.step for e in shadow)
    detail = f"primary: {orders[0][:1000]}\nshadow:  {orders[1][:1000]}"
    mark(found, change, artifact=MANIFEST, kind=Kind.ORDER, step=ours.step, detail=detail)


def _mark_doubled(found: Compared, primary: ManifestDocument, shadow: ManifestDocument) -> None:
    for side, manifest in (("primary", primary), ("shadow", shadow)):
        seen: set[str] = set()
        for place, entry in enumerate(manifest.steps):
            if entry.step in seen:
                found.differences.append(
                    Difference(
                        run_id=found.run_id,
                        task=found.task,
                        artifact=MANIFEST,
                        step=entry.step,
                        pointer=f"/steps/{place}/step",
                        kind=Kind.INVALID,
                        source=Source.OURS,
                        detail=f"{side}: the step {entry.step!r} is listed twice",
                    )
                )
            seen.add(entry.step)


def _mark_step(found: Compared, place: int, ours: Any, theirs: Any, step: str) -> None:
    change = Change(pointer=f"/steps/{place}", primary=ours, shadow=theirs)
    mark(found, change, artifact=MANIFEST, kind=Kind.STEP, step=step)


def _entry(entry: StepEntry) -> dict[str, Any]:
    return entry.model_dump(mode="json")
