"""Compare both runs of a pair by what their manifests and status documents say."""

from turnout.model.keys import MANIFEST, RUNS
from turnout.parity.compare_manifests import compare_manifests
from turnout.parity.compare_status import compare_overhead, compare_status
from turnout.parity.faults import Fault, SideName
from turnout.parity.pair_result import PairResult
from turnout.parity.pairing import SHADOW
from turnout.parity.rules import Bounds
from turnout.parity.run_documents import RunDocuments


def compare_pair(
    run_id: str, primary: RunDocuments, shadow: RunDocuments, bounds: Bounds
) -> PairResult:
    """Compare what was read of both sides; a document that cannot be believed is a difference."""
    documents = primary.status or primary.manifest or shadow.status or shadow.manifest
    result = PairResult(
        run_id=run_id, task=documents.task if documents else None, documents=4, fetched=4
    )
    result.reject(primary.faults)
    result.reject(shadow.faults)
    if primary.status is not None and shadow.status is not None:
        compare_status(result, primary.status, shadow.status)
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
