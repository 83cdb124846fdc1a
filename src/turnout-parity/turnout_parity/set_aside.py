"""Pairs that are counted and not compared, and why."""

from typing import Final

from turnout.model.time import Millis, iso, moment
from turnout_parity.report import SetAside
from turnout_parity.run_documents import RunDocuments
from turnout_parity.window import DualRunWindow

BEGUN_WITHIN: Final[Millis] = 1_000
"""How long after it is due a shadow may begin."""
WRITTEN_WITHIN: Final[Millis] = 60_000
"""How long after a shadow's end its documents may come."""
OBSTACLES: Final = {
    "provider_failure": "the primary's provider or a process failed, so it cannot be repeated",
    "unsupported": "the shadow's app did not know the task",
}


def set_aside(
    run_id: str,
    primary: RunDocuments | None,
    shadow: RunDocuments | None,
    window: DualRunWindow,
) -> SetAside | None:
    """Return why a pair must not be compared: by the window or its status; else None."""
    runs = [run for run in (primary, shadow) if run is not None]
    task = next((run.task for run in runs if run.task is not None), None)
    if declared := window.set_aside.get(run_id):
        return declared.model_copy(update={"task": task})
    for run in runs:
        obstacle = run.status.not_comparable if run.status is not None else None
        if obstacle == "late":
            reason = "the primary had not ended when its shadow was due"
            return SetAside(run_id=run_id, task=task, why="late", reason=reason)
        if obstacle is not None:
            reason = OBSTACLES[obstacle]
            return SetAside(run_id=run_id, task=task, why="not_comparable", reason=reason)
    if other_code := _other_code(primary, shadow):
        return SetAside(run_id=run_id, task=task, why="not_comparable", reason=other_code)
    if primary is not None and primary.running and (shadow is None or shadow.empty):
        reason = "the primary has not ended; its shadow is not due yet"
        return SetAside(run_id=run_id, task=task, why="late", reason=reason)
    return None


def not_due(
    run_id: str,
    primary: RunDocuments | None,
    shadow: RunDocuments | None,
    window: DualRunWindow,
    *,
    now: Millis,
    patience: Millis,
) -> SetAside | None:
    """Say why the shadow of an incomplete pair may still come; None where it is missing.

    Only a window that states its lag can tell, and only of a run that was to have a shadow. A
    shadow ends about one lag after its primary. It is missing when it has not ended `patience`
    later, or when the dual run ended after it was due. One that has ended has all its documents
    soon after; its manifest is written last.
    """
    status = primary.status if primary is not None else None
    if status is None or not status.state.terminal or not _incomplete(primary, shadow):
        return None
    if not window.needs_twin(status.task, status.emitted_at):
        return None
    spans = window.spans_after(status.task, status.emitted_at)
    lags = [span.lag_ms for span in spans if span.lag_ms is not None]
    if not lags:
        return None
    due = moment(status.emitted_at) + max(lags)
    until = _until(shadow, moment(status.transitions[-1].at) + max(lags) + patience)
    # Where all spans have ended, no more shadows are started, whatever time it is now.
    closed = [span.until for span in spans if span.until is not None]
    if len(closed) == len(spans):
        reason = _at_close(shadow, due, until, moment(max(closed)))
    else:
        opened = max(moment(span.since) for span in spans)
        reason = _on_its_way(due, max(until, opened + patience), now)
    if reason is None:
        return None
    return SetAside(run_id=run_id, task=status.task, why="not_due", reason=reason)


def _other_code(primary: RunDocuments | None, shadow: RunDocuments | None) -> str | None:
    manifests = [run.manifest for run in (primary, shadow) if run is not None]
    versions = [manifest.code_version for manifest in manifests if manifest is not None]
    match versions:
        case [first, second] if first != second:
            return f"the sides ran different code: {first or 'unknown'}, {second or 'unknown'}"
    return None


def _incomplete(primary: RunDocuments | None, shadow: RunDocuments | None) -> bool:
    """Whether documents are missing that may still come, and nothing else is wrong."""
    if shadow is not None and shadow.manifest is not None:
        return False
    faults = [fault for run in (primary, shadow) if run is not None for fault in run.faults]
    return (shadow is None or bool(faults)) and all(fault.missing for fault in faults)


def _until(shadow: RunDocuments | None, latest: Millis) -> Millis:
    status = shadow.status if shadow is not None else None
    if status is None or not status.state.terminal:
        return latest
    return min(latest, moment(status.transitions[-1].at) + WRITTEN_WITHIN)


def _on_its_way(due: Millis, until: Millis, now: Millis) -> str | None:
    if now >= until:
        return None
    state = f"due at {iso(due)}" if due > now else "on its way"
    return f"its shadow is {state}; missing from {iso(until)} on"


def _at_close(
    shadow: RunDocuments | None, due: Millis, until: Millis, closed: Millis
) -> str | None:
    """Say why a shadow did not come, when the dual run has ended and starts no more of them."""
    if shadow is None or shadow.empty:
        if due + BEGUN_WITHIN < closed:
            return None
        return f"the dual run ended before its shadow was due at {iso(due)}"
    if until < closed:
        return None
    return f"the dual run ended at {iso(closed)}, while its shadow was under way"
