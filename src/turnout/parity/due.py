"""Whether a shadow that is not there may still come: while a dual run goes on, some always may."""

from typing import Final

from turnout.model.time import Millis, iso, moment
from turnout.parity.report import SetAside
from turnout.parity.sides import Side, task_of
from turnout.parity.window import Window

PATIENCE: Final[Millis] = 120_000
"""How much later than its primary and the lag a shadow may end: it may wait in a queue, and a
provider takes a minute to see that a process was killed."""

BEGUN_WITHIN: Final[Millis] = 1_000
"""How long after it is due a shadow may begin."""


def not_due(
    run_id: str,
    primary: Side | None,
    shadow: Side | None,
    window: Window,
    *,
    now: Millis,
    patience: Millis,
) -> SetAside | None:
    """Say of a pair that is not whole yet why that is no difference; None where it is one.

    Only a window that states its lag can tell. A shadow ends about the lag after its primary; it
    is missing once it has not for `patience` more, or where the dual run ended after it was due.
    """
    status = primary.status if primary is not None else None
    if status is None or not status.state.terminal or not _unfinished(primary, shadow):
        return None
    spans = window.spans_after(status.task, status.emitted_at)
    lags = [each.lag_ms for each in spans if each.lag_ms is not None]
    if not lags:
        return None
    due, ended = status.emitted_at + max(lags), status.transitions[-1].at + max(lags)
    closed = [each.until for each in spans if each.until is not None]
    if len(closed) == len(spans):
        reason = _at_close(shadow, due, ended + patience, moment(max(closed)))
    else:
        opened = max(moment(each.since) for each in spans)
        reason = _on_its_way(due, max(ended, opened) + patience, now)
    if reason is None:
        return None
    return SetAside(run_id=run_id, task=task_of(primary), why="not_due", reason=reason)


def _unfinished(primary: Side | None, shadow: Side | None) -> bool:
    """Whether documents are not there, and nothing else is wrong."""
    faults = [fault for side in (primary, shadow) if side is not None for fault in side.faults]
    return (shadow is None or bool(faults)) and all(fault.missing for fault in faults)


def _on_its_way(due: Millis, until: Millis, now: Millis) -> str | None:
    if now >= until:
        return None
    state = f"due at {iso(due)}" if due > now else "on its way"
    return f"its shadow is {state}; missing from {iso(until)} on"


def _at_close(shadow: Side | None, due: Millis, until: Millis, closed: Millis) -> str | None:
    """What comes of a shadow when nobody feeds shadows any more."""
    if shadow is None or shadow.empty:
        if due + BEGUN_WITHIN < closed:
            return None
        return f"the dual run ended before its shadow was due at {iso(due)}"
    if until < closed:
        return None
    return f"the dual run ended at {iso(closed)}, while its shadow was under way"
