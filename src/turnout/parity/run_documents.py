"""The manifest and the status document of one run, read and validated."""

from dataclasses import dataclass, field

from turnout.errors import ArtifactInvalid, ArtifactMissing, TooLarge
from turnout.model.artifacts import ManifestDocument, StatusDocument, read_manifest, read_status
from turnout.model.keys import MANIFEST, STATUS
from turnout.model.status import RunStatus
from turnout.model.storage import ArtifactBody, GetResult
from turnout.parity.faults import Fault, SideName, invalid, missing
from turnout.parity.overlap import ConcurrencySlot


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """Both documents of a run, both valid."""

    manifest: ManifestDocument
    status: StatusDocument

    @property
    def concurrency_slot(self) -> ConcurrencySlot | None:
        """What the run held of its concurrency key; None without a limit, or if it never ran."""
        limit, path = self.manifest.concurrency, self.status.transitions
        if limit is None:
            return None
        started_at = next((entry.at for entry in path if entry.state is RunStatus.RUNNING), None)
        ended_at = next((entry.at for entry in reversed(path) if entry.state.terminal), None)
        if started_at is None or ended_at is None:
            return None
        return ConcurrencySlot(
            task=self.status.task,
            key=limit.key,
            limit=limit.limit,
            start_ms=float(started_at),
            end_ms=float(ended_at),
        )


@dataclass(slots=True, kw_only=True)
class RunDocuments:
    """What could be read of one run."""

    side: SideName
    name: str
    """The folder's name: the run id; a shadow's ends in `-dryrun`."""
    manifest: ManifestDocument | None = None
    status: StatusDocument | None = None
    record: RunRecord | None = None
    """Both documents, where both are valid."""
    faults: list[Fault] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether neither document is there."""
        return len(self.faults) == 2 and all(fault.missing for fault in self.faults)  # noqa: PLR2004 (both)

    @property
    def running(self) -> bool:
        """Whether the status says that the run has not ended."""
        return self.status is not None and not self.status.state.terminal

    @property
    def task(self) -> str | None:
        """The task, by whichever document names it."""
        document = self.status or self.manifest
        return document.task if document is not None else None


def read_run(side: SideName, name: str, manifest: GetResult, status: GetResult) -> RunDocuments:
    """Validate both documents; what is wrong with them becomes faults, and stops nothing."""
    run = RunDocuments(side=side, name=name)
    try:
        if (raw := _body(run, MANIFEST, manifest)) is not None:
            run.manifest = read_manifest(raw, run_id=name)
    except ArtifactInvalid as error:
        run.faults.append(invalid(side, MANIFEST, error))
    try:
        if (raw := _body(run, STATUS, status)) is not None:
            run.status = read_status(raw, run_id=name)
    except ArtifactInvalid as error:
        run.faults.append(invalid(side, STATUS, error))
    if run.manifest is not None and run.status is not None:
        run.record = RunRecord(manifest=run.manifest, status=run.status)
    _check_role(run)
    _check_listing(run)
    return run


def _body(run: RunDocuments, artifact: str, outcome: GetResult) -> bytes | None:
    match outcome:
        case ArtifactBody():
            return outcome.body
        case ArtifactMissing():
            run.faults.append(missing(run.side, artifact))
        case TooLarge():
            run.faults.append(invalid(run.side, artifact, outcome))
    return None


def _check_role(run: RunDocuments) -> None:
    if run.status is not None and run.status.role.value != run.side:
        message = f"says it is the {run.status.role}: primary and shadow are swapped"
        run.faults.append(Fault(side=run.side, artifact=STATUS, pointer="/role", message=message))


def _check_listing(run: RunDocuments) -> None:
    """A manifest lists the status of its run, always."""
    if run.manifest is None or any(entry.path == STATUS for entry in run.manifest.documents):
        return
    message = f"does not list {STATUS}"
    run.faults.append(
        Fault(side=run.side, artifact=MANIFEST, pointer="/documents", message=message)
    )
