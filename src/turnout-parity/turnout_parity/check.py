"""The parity check: compares all pairs of a store, and returns one report."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from turnout.model.keys import RUNS
from turnout.model.parity_window import WINDOW_KEY
from turnout.model.time import moment
from turnout.ports.artifact_store import ArtifactStore
from turnout_parity.counts import Counts
from turnout_parity.explain import Explainer
from turnout_parity.gates.gate_file import GateFile
from turnout_parity.ignores import Ignore
from turnout_parity.pairing import SHADOW
from turnout_parity.redaction import Redaction
from turnout_parity.report import ParityReport
from turnout_parity.rules import Rules
from turnout_parity.scan import Scan
from turnout_parity.summary import summary
from turnout_parity.user_documents import DocumentPattern, compare_user_documents

NO_DUAL_RUN: Final = (
    f"no dual run was seen: there is no {WINDOW_KEY} in the store, and no run has a shadow"
    f" ({RUNS}/…{SHADOW}/); a service under ORCHESTRATOR_PROVIDER=dual writes both to its"
    " TURNOUT_ARTIFACTS"
)


async def check(
    store: ArtifactStore,
    *,
    ignores: Sequence[Ignore] = (),
    documents: DocumentPattern | None = None,
    progress: Callable[[int], None] = lambda _: None,
    rules: Rules | None = None,
    redaction: Redaction | None = None,
    now: datetime | None = None,
    name: str = "",
    gates: GateFile | None = None,
) -> ParityReport:
    """Compare every pair in a store and report what differs.

    ignores: declared differences; expired ones are reported and not applied.
    documents: compare a team's own JSON instead of runs' artifacts.
    progress: is called with the number of pairs compared so far.
    rules: bounds, and how many digests are verified.
    now: the time by which shadows are due and ignores expire.
    name: what the report calls the store.
    gates: what each task must show; without them any mismatch is FAIL.

    An invalid document fails only its own pair. Memory does not grow with the documents:
    a few numbers per pair are kept. Raises `StoreUnavailable` where the store does not answer.
    """
    begun = time.monotonic()
    now = now or datetime.now(UTC)
    active = [ignore for ignore in ignores if not ignore.expired(now.date())]
    redaction = redaction or Redaction()
    explain = Explainer(redaction=redaction)
    counts = Counts(ignores=active, redaction=redaction, explain=explain)
    warnings: list[str] = []
    hints: list[str] = []
    dual_run_seen = True
    if documents is not None:
        await compare_user_documents(store, documents, counts, progress)
    else:
        scan = Scan(
            store=store,
            rules=rules or Rules(),
            counts=counts,
            progress=progress,
            now=moment(now),
        )
        warnings += await scan.run()
        dual_run_seen = scan.dual_run_seen
        hints += [] if dual_run_seen else [NO_DUAL_RUN]
    return summary(
        counts,
        store=name,
        checked_at=now,
        duration_ms=(time.monotonic() - begun) * 1000,
        ignores=ignores,
        warnings=warnings,
        hints=hints,
        dual_run_seen=dual_run_seen,
        gate_file=gates,
    )
