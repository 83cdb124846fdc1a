"""Compares both runs of a pair by their manifests and status documents."""

from turnout.model.documents import StatusDocument
from turnout.model.keys import MANIFEST, RUNS
from turnout_parity.compare_manifests import compare_manifests
from turnout_parity.compare_status import compare_overhead, compare_provider_states, compare_status
from turnout_parity.faults import Fault, SideName
from turnout_parity.pair_result import PairResult
from turnout_parity.pairing import SHADOW
from turnout_parity.report import Kind
from turnout_parity.rules import Bounds
from turnout_parity.run_documents import RunDocuments


def compare_pair(
    run_id: str, primary: RunDocuments, shadow: RunDocuments, bounds: Bounds, *, verify: bool
) -> PairResult:
    """Compare the documents that were read of both sides; an invalid one is a difference.

    Status documents with equal digests are not compared, unless `verify` is set.
    """
    result = PairResult(run_id=run_id, documents=4, fetched=4)
    statuses: tuple[StatusDocument | None, StatusDocument | None] = None, None
    if verify or primary.status_digest is None or primary.status_digest != shadow.status_digest:
        statuses = primary.read_whole_status(), shadow.read_whole_status()
    documents = primary.status or primary.manifest or shadow.status or shadow.manifest
    result.task = documents.task if documents else None
    result.reject(primary.faults)
    result.reject(shadow.faults)
    if primary.status is not None and shadow.status is not None:
        result.count(Kind.STATUS, Kind.TRANSITIONS, Kind.ATTEMPTS)
        if statuses[0] is not None and statuses[1] is not None:
            compare_status(result, statuses[0], statuses[1])
        compare_provider_states(result, primary.status, shadow.status)
        compare_overhead(result, primary.status, shadow.status, bounds)
    if primary.manifest is not None and shadow.manifest is not None:
        compare_manifests(result, primary.manifest, shadow.manifest)
    result.twin_missing = primary.empty or shadow.empty
    return result


def report_missing_twin(run_id: str, run: RunDocuments) -> PairResult:
    """Report a run whose other side is not in the store."""
    absent: SideName = "shadow" if run.side == "primary" else "primary"
    folder = run_id + (SHADOW if absent == "shadow" else "")
    message = f"there is no {RUNS}/{folder}/"
    twin = Fault(side=absent, artifact=MANIFEST, message=message, missing=True)
    result = PairResult(run_id=run_id, task=run.task, documents=2, fetched=2, twin_missing=True)
    result.reject([twin, *run.faults])
    return result
