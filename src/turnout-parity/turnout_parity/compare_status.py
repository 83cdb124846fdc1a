"""Compare how two runs went, by their status documents."""

from typing import Any

from turnout.model.documents import Source, StatusDocument
from turnout.model.keys import STATUS
from turnout.model.status import RunStatus
from turnout_parity.json_diff import JsonChange, differences
from turnout_parity.measured_status import MeasuredStatus
from turnout_parity.pair_result import PairResult
from turnout_parity.report import Kind
from turnout_parity.rules import Bounds


def compare_status(result: PairResult, primary: StatusDocument, shadow: StatusDocument) -> None:
    """Compare state, path of states, error, task and key."""
    if primary.state is not shadow.state:
        _differ(result, "/state", primary.state.value, shadow.state.value)
    if primary.task != shadow.task:
        _differ(result, "/task", primary.task, shadow.task, source=Source.CONSTRUCTION)
    if primary.key != shadow.key:
        _differ(result, "/key", primary.key, shadow.key, source=Source.CONSTRUCTION)
    if primary.error != shadow.error:
        _compare_errors(result, primary, shadow)
    _compare_paths(result, primary, shadow)


def compare_overhead(
    result: PairResult, primary: MeasuredStatus, shadow: MeasuredStatus, bounds: Bounds
) -> None:
    """Check the bound on overhead; nothing is compared where one overhead is not known."""
    primary_ms, shadow_ms = primary.timings.overhead_ms, shadow.timings.overhead_ms
    if primary_ms is None or shadow_ms is None:
        return
    result.count(Kind.SLOW)
    result.overhead = (float(primary_ms), float(shadow_ms))
    if shadow_ms - primary_ms > bounds.slow_ms:
        change = JsonChange(pointer="/timings/overhead_ms", primary=primary_ms, shadow=shadow_ms)
        detail = f"{shadow_ms - primary_ms:,} ms more; the bound is {bounds.slow_ms:,} ms"
        result.differ(change, artifact=STATUS, kind=Kind.SLOW, detail=detail)


def compare_attempts_total(
    result: PairResult, primary: MeasuredStatus, shadow: MeasuredStatus
) -> None:
    """Report another number of attempts, unless a step's difference explains it."""
    explained = any(entry.kind in {Kind.ATTEMPTS, Kind.STEP} for entry in result.differences)
    if primary.attempts != shadow.attempts and not explained:
        change = JsonChange(pointer="/attempts", primary=primary.attempts, shadow=shadow.attempts)
        result.differ(change, artifact=STATUS, kind=Kind.ATTEMPTS)


def compare_provider_states(
    result: PairResult, primary: MeasuredStatus, shadow: MeasuredStatus
) -> None:
    """Compare the outcomes that both providers report, for runs that their tasks ended.

    A run that Turnout itself ended may have any final state at its provider.
    """
    state, twin_state = primary.provider_state, shadow.provider_state
    if not (_is_outcome(state) and _is_outcome(twin_state)):
        return
    if primary.state not in {RunStatus.COMPLETED, RunStatus.FAILED}:
        return
    result.count(Kind.STATUS, source=Source.PROVIDER)
    if state is not twin_state:
        _differ(result, "/provider_state", str(state), str(twin_state), source=Source.PROVIDER)


def _is_outcome(provider_state: RunStatus | None) -> bool:
    """Whether a provider says how a run ended whose task has ended.

    Where a process was killed before it reported the end, the provider's run goes on for minutes,
    until the provider notices it, or the provider cancels it: a kill is no difference.
    """
    if provider_state is None or provider_state is RunStatus.CANCELLED:
        return False
    return provider_state.terminal


def _compare_errors(result: PairResult, primary: StatusDocument, shadow: StatusDocument) -> None:
    errors = [
        {"error": status.error.model_dump() if status.error else None}
        for status in (primary, shadow)
    ]
    for change in differences(*errors):
        result.differ(change, artifact=STATUS, kind=Kind.STATUS)


def _compare_paths(result: PairResult, primary: StatusDocument, shadow: StatusDocument) -> None:
    primary_path = [entry.state for entry in primary.transitions]
    shadow_path = [entry.state for entry in shadow.transitions]
    if primary_path == shadow_path:
        return
    # Another last state is reported as the state; the path counts where it differs before.
    if primary_path[:-1] == shadow_path[:-1] and primary.state is not shadow.state:
        return
    paths = [[state.value for state in path] for path in (primary_path, shadow_path)]
    change = JsonChange(pointer="/transitions", primary=paths[0], shadow=paths[1])
    result.differ(change, artifact=STATUS, kind=Kind.TRANSITIONS)


def _differ(result: PairResult, pointer: str, primary: Any, shadow: Any, **details: Any) -> None:
    change = JsonChange(pointer=pointer, primary=primary, shadow=shadow)
    result.differ(change, artifact=STATUS, kind=Kind.STATUS, **details)
