"""The two sides of a pair, as their manifests and status documents tell them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from turnout.errors import ArtifactInvalid, ArtifactMissing, TooLarge
from turnout.model.artifacts import ManifestDocument, StatusDocument, read_manifest, read_status
from turnout.model.keys import MANIFEST, STATUS
from turnout.model.storage import ArtifactBody, GetResult
from turnout.parity.report import Difference, Kind, SetAside, Source
from turnout.parity.window import Window

SideName = Literal["primary", "shadow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A document that is not there, or cannot be believed."""

    side: SideName
    artifact: str
    pointer: str
    message: str
    missing: bool


@dataclass(slots=True, kw_only=True)
class Side:
    """What was read of one run."""

    side: SideName
    name: str
    """The folder's name: the run id, with its ending for a shadow."""
    manifest: ManifestDocument | None = None
    status: StatusDocument | None = None
    faults: list[Fault] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Neither document is there."""
        return len(self.faults) == 2 and all(fault.missing for fault in self.faults)  # noqa: PLR2004 (both)

    @property
    def running(self) -> bool:
        """The status says that the run has not ended."""
        return self.status is not None and not self.status.state.terminal


def read_side(side: SideName, name: str, manifest: GetResult, status: GetResult) -> Side:
    """Read both documents; what is wrong with them becomes faults, and stops nothing."""
    found = Side(side=side, name=name)
    try:
        if isinstance(raw := _body(found, MANIFEST, manifest), bytes):
            found.manifest = read_manifest(raw, run_id=name)
    except ArtifactInvalid as error:
        found.faults.append(invalid(side, MANIFEST, error))
    try:
        if isinstance(raw := _body(found, STATUS, status), bytes):
            found.status = read_status(raw, run_id=name)
    except ArtifactInvalid as error:
        found.faults.append(invalid(side, STATUS, error))
    _check_role(found)
    _check_listing(found)
    return found


def invalid(side: SideName, artifact: str, error: Exception) -> Fault:
    """Describe a document that cannot be believed."""
    pointer = getattr(error, "pointer", "")
    return Fault(side=side, artifact=artifact, pointer=pointer, message=str(error), missing=False)


def missing(side: SideName, artifact: str) -> Fault:
    """Describe a document that is not there."""
    return Fault(side=side, artifact=artifact, pointer="", message="is not there", missing=True)


def unlisted(side: SideName, artifact: str) -> Fault:
    """Describe a document that its run's manifest does not know."""
    message = "is there, and the manifest does not list it"
    return Fault(side=side, artifact=artifact, pointer="", message=message, missing=False)


def faults_as_differences(
    run_id: str, task: str | None, faults: Sequence[Fault]
) -> list[Difference]:
    """Report each fault as a difference of its pair, by name."""
    return [
        Difference(
            run_id=run_id,
            task=task,
            artifact=fault.artifact,
            pointer=fault.pointer,
            kind=Kind.MISSING if fault.missing else Kind.INVALID,
            absent=fault.side if fault.missing else None,
            source=Source.OURS,
            detail=f"{fault.side}: {fault.message}",
        )
        for fault in faults
    ]


def task_of(*sides: Side | None) -> str | None:
    """Name the task by whatever document names it, the primary's first."""
    for side in sides:
        if side is not None and (document := side.status or side.manifest):
            return document.task
    return None


def set_aside(
    run_id: str, primary: Side | None, shadow: Side | None, window: Window
) -> SetAside | None:
    """Decide whether a pair is counted without being compared, and why."""
    task = task_of(primary, shadow)
    if declared := window.set_aside.get(run_id):
        return declared.model_copy(update={"task": task})
    for side in (primary, shadow):
        why = side.status.not_comparable if side is not None and side.status is not None else None
        if why == "late":
            reason = "the primary had not ended when its shadow was due"
            return SetAside(run_id=run_id, task=task, why="late", reason=reason)
        if why is not None:
            reason = f"{side.side if side else ''}: {why.replace('_', ' ')}"
            return SetAside(run_id=run_id, task=task, why="not_comparable", reason=reason)
    if primary is not None and primary.running and (shadow is None or shadow.empty):
        reason = "the primary has not ended; its shadow is not due yet"
        return SetAside(run_id=run_id, task=task, why="late", reason=reason)
    return None


def _body(found: Side, artifact: str, outcome: GetResult) -> bytes | None:
    if isinstance(outcome, ArtifactBody):
        return outcome.body
    if isinstance(outcome, ArtifactMissing):
        found.faults.append(missing(found.side, artifact))
    elif isinstance(outcome, TooLarge):
        found.faults.append(invalid(found.side, artifact, outcome))
    return None


def _check_role(found: Side) -> None:
    if found.status is not None and found.status.role.value != found.side:
        message = f"says it is the {found.status.role}: primary and shadow are swapped"
        found.faults.append(
            Fault(side=found.side, artifact=STATUS, pointer="/role", message=message, missing=False)
        )


def _check_listing(found: Side) -> None:
    """Hold that a manifest lists its run's status, which it always does."""
    manifest = found.manifest
    if manifest is not None and STATUS not in {entry.path for entry in manifest.documents}:
        message = f"does not list {STATUS}"
        found.faults.append(
            Fault(
                side=found.side,
                artifact=MANIFEST,
                pointer="/documents",
                message=message,
                missing=False,
            )
        )
