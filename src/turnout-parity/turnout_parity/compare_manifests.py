"""Compare which steps two runs asked for, and decide by digests which documents must be read."""

from dataclasses import dataclass
from typing import Any

from turnout.model.documents import ManifestDocument, Source, StepEntry
from turnout.model.keys import MANIFEST, step_path
from turnout.model.status import StepKind
from turnout_parity.faults import SideName
from turnout_parity.json_diff import ABSENT, JsonChange, differences
from turnout_parity.pair_result import PairResult
from turnout_parity.report import Difference, Kind
from turnout_parity.run_documents import ComparableRun
from turnout_parity.step_order import first_difference


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPair:
    """One step that both sides have, and the paths of its two documents."""

    step: str
    primary: str
    shadow: str
    differs: bool
    """Whether the digests in the manifests differ, or one is missing."""


def compare_manifests(
    result: PairResult, primary: ManifestDocument, shadow: ManifestDocument
) -> None:
    """Compare the steps and their order, the protocol, and the concurrency limit."""
    result.count(Kind.STEP, Kind.ORDER)
    if primary.protocol != shadow.protocol:
        details = {"source": Source.CONSTRUCTION, "detail": "the sides ran different versions"}
        versions = primary.protocol, shadow.protocol
        _differ(result, "/protocol", *versions, kind=Kind.STATUS, **details)
    if primary.concurrency != shadow.concurrency:
        _compare_limits(result, primary, shadow)
    _report_repeated(result, primary, "primary")
    _report_repeated(result, shadow, "shadow")
    if primary.steps != shadow.steps:
        _compare_steps(result, primary, shadow)
    if primary.unasked != shadow.unasked:
        unasked = list(primary.unasked), list(shadow.unasked)
        _differ(result, "/unasked", *unasked, kind=Kind.STEP)


def steps_to_read(primary: ComparableRun, shadow: ComparableRun, *, verify: bool) -> list[StepPair]:
    """List the steps of both sides whose documents must be read: those whose digests differ.

    With `verify`, and where a step was retried, that is all of them: the delays between attempts
    are in no digest.
    """
    read_all = verify or has_retries(primary) or has_retries(shadow)
    digests = {entry.path: entry.parity_sha256 for entry in primary.manifest.documents}
    twin_digests = {entry.path: entry.parity_sha256 for entry in shadow.manifest.documents}
    twin_indexes = {entry.step: entry.index for entry in shadow.manifest.steps}
    pairs: list[StepPair] = []
    for entry in primary.manifest.steps:
        twin_index = twin_indexes.get(entry.step)
        if twin_index is None:
            continue
        # A step of a parallel branch may have another index on the other side.
        path = step_path(entry.index, entry.step)
        twin_path = path if twin_index == entry.index else step_path(twin_index, entry.step)
        digest = digests.get(path)
        differs = digest is None or digest != twin_digests.get(twin_path)
        if differs or read_all:
            pairs.append(StepPair(step=entry.step, primary=path, shadow=twin_path, differs=differs))
    return pairs


def has_retries(run: ComparableRun) -> bool:
    """Whether any step was tried more than once, so that there are delays to compare."""
    kinds = [entry.kind for entry in run.manifest.steps]
    return run.status.attempts > kinds.count(StepKind.STEP)


def lists_no_steps(run: ComparableRun) -> bool:
    """Whether a run tried steps, and its manifest lists none."""
    return run.status.attempts > 0 and not run.manifest.steps


def _compare_limits(
    result: PairResult, primary: ManifestDocument, shadow: ManifestDocument
) -> None:
    limits = [
        {"concurrency": manifest.concurrency.model_dump() if manifest.concurrency else None}
        for manifest in (primary, shadow)
    ]
    for change in differences(*limits):
        result.differ(change, artifact=MANIFEST, kind=Kind.STATUS, source=Source.CONSTRUCTION)


def _compare_steps(result: PairResult, primary: ManifestDocument, shadow: ManifestDocument) -> None:
    primary_steps = {entry.step: (place, entry) for place, entry in enumerate(primary.steps)}
    shadow_steps = {entry.step: (place, entry) for place, entry in enumerate(shadow.steps)}
    for step, (place, entry) in primary_steps.items():
        twin = shadow_steps.get(step)
        if twin is None:
            _differ(result, f"/steps/{place}", entry.model_dump(mode="json"), ABSENT, step=step)
        elif entry.kind is not twin[1].kind:
            kinds = entry.kind.value, twin[1].kind.value
            _differ(result, f"/steps/{place}/kind", *kinds, step=step)
    for step, (place, entry) in shadow_steps.items():
        if step not in primary_steps:
            _differ(result, f"/steps/{place}", ABSENT, entry.model_dump(mode="json"), step=step)
    _compare_order(
        result,
        [entry for entry in primary.steps if entry.step in shadow_steps],
        [entry for entry in shadow.steps if entry.step in primary_steps],
        {step: place for step, (place, _) in primary_steps.items()},
    )


def _compare_order(
    result: PairResult,
    primary: list[StepEntry],
    shadow: list[StepEntry],
    places: dict[str, int],
) -> None:
    place = first_difference(primary, shadow)
    if place is None:
        return
    entry, twin = primary[place], shadow[place]
    name = "step" if entry.step != twin.step else "branch"
    orders = [" → ".join(entry.step for entry in steps)[:1000] for steps in (primary, shadow)]
    _differ(
        result,
        f"/steps/{places[entry.step]}/{name}",
        getattr(entry, name),
        getattr(twin, name),
        kind=Kind.ORDER,
        step=entry.step,
        detail=f"primary: {orders[0]}\nshadow:  {orders[1]}",
    )


def _report_repeated(result: PairResult, manifest: ManifestDocument, side: SideName) -> None:
    if len({entry.step for entry in manifest.steps}) == len(manifest.steps):
        return
    listed: set[str] = set()
    for place, entry in enumerate(manifest.steps):
        if entry.step in listed:
            result.differences.append(
                Difference(
                    run_id=result.run_id,
                    task=result.task,
                    artifact=MANIFEST,
                    step=entry.step,
                    pointer=f"/steps/{place}/step",
                    kind=Kind.INVALID,
                    source=Source.RECORDED,
                    detail=f"{side}: the step {entry.step!r} is listed twice",
                )
            )
        listed.add(entry.step)


def _differ(
    result: PairResult,
    pointer: str,
    primary: Any,
    shadow: Any,
    *,
    kind: Kind = Kind.STEP,
    **details: Any,
) -> None:
    change = JsonChange(pointer=pointer, primary=primary, shadow=shadow)
    result.differ(change, artifact=MANIFEST, kind=kind, **details)
