"""The manifest and the status document of one run, read and validated."""

from contextlib import suppress
from dataclasses import dataclass, field

from pydantic import ValidationError

from turnout.errors import ArtifactInvalid, ArtifactMissing, TooLarge
from turnout.model.canonical import sha256_of
from turnout.model.documents import DocumentEntry, ManifestDocument, StatusDocument
from turnout.model.keys import MANIFEST, STATUS
from turnout.model.status import RunStatus
from turnout.model.storage import ArtifactBody, GetResult
from turnout.model.time import moment
from turnout_parity.faults import Fault, SideName, invalid, missing
from turnout_parity.measured_status import MeasuredStatus
from turnout_parity.overlap import ConcurrencySlot
from turnout_parity.read_artifacts import read_manifest, read_status


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparableRun:
    """A run with both of its documents, both valid."""

    manifest: ManifestDocument
    status: MeasuredStatus
    status_body: bytes
    """The whole status document, as it was read."""

    @property
    def concurrency_slot(self) -> ConcurrencySlot | None:
        """The limit slot that the run held; None without a limit, or if the run never ran."""
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
            start_ms=float(moment(started_at)),
            end_ms=float(moment(ended_at)),
        )


@dataclass(slots=True, kw_only=True)
class RunDocuments:
    """The documents of one run, as far as they could be read."""

    side: SideName
    name: str
    """The folder's name: the run id; a shadow's ends in `-dryrun`."""
    manifest: ManifestDocument | None = None
    status: MeasuredStatus | None = None
    status_body: bytes = b""
    status_digest: str | None = None
    """The parity digest of the status; None where its bytes are not those in the manifest."""
    record: ComparableRun | None = None
    """Both documents, where both are valid."""
    faults: list[Fault] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether neither document is there."""
        return len(self.faults) == 2 and all(fault.missing for fault in self.faults)  # noqa: PLR2004 (both)

    def read_whole_status(self) -> StatusDocument | None:
        """Read all fields of the status; an invalid status becomes a fault."""
        if self.status is None:
            return None
        try:
            return read_status(self.status_body, run_id=self.name)
        except ArtifactInvalid as error:
            self.faults.append(invalid(self.side, STATUS, error))
            self.status = self.record = None
            return None

    @property
    def running(self) -> bool:
        """Whether the status says that the run has not ended."""
        return self.status is not None and not self.status.state.terminal

    @property
    def task(self) -> str | None:
        """The task, from the status or else the manifest."""
        document = self.status or self.manifest
        return document.task if document is not None else None


def read_run(side: SideName, name: str, manifest: GetResult, status: GetResult) -> RunDocuments:
    """Validate both documents; errors in them become faults."""
    run = RunDocuments(side=side, name=name)
    try:
        if (raw := _body(run, MANIFEST, manifest)) is not None:
            run.manifest = read_manifest(raw, run_id=name)
    except ArtifactInvalid as error:
        run.faults.append(invalid(side, MANIFEST, error))
    listing = _listing(run)
    try:
        if (raw := _body(run, STATUS, status)) is not None:
            run.status_body = raw
            run.status = _read_status(run, raw, listing)
    except ArtifactInvalid as error:
        run.faults.append(invalid(side, STATUS, error))
    if run.manifest is not None and run.status is not None:
        run.record = ComparableRun(
            manifest=run.manifest, status=run.status, status_body=run.status_body
        )
    _check_role(run)
    if run.manifest is not None and listing is None:
        message = f"does not list {STATUS}"
        run.faults.append(
            Fault(side=side, artifact=MANIFEST, pointer="/documents", message=message)
        )
    return run


def _read_status(run: RunDocuments, raw: bytes, listing: DocumentEntry | None) -> MeasuredStatus:
    """Read the measured fields; validate all fields, unless the manifest has the bytes' digest."""
    if listing is not None and listing.sha256 == sha256_of(raw):
        # An invalid document is read in full below, so that the fault is named.
        with suppress(ValidationError):
            status = MeasuredStatus.model_validate_json(raw)
            if status.run_id == run.name:
                run.status_digest = listing.parity_sha256
                return status
    whole = read_status(raw, run_id=run.name)
    return MeasuredStatus.model_validate_json(whole.model_dump_json(by_alias=True))


def _listing(run: RunDocuments) -> DocumentEntry | None:
    documents = run.manifest.documents if run.manifest is not None else ()
    return next((entry for entry in documents if entry.path == STATUS), None)


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
