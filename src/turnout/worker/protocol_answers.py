"""Answers to a vendor run: a Next from a run and its decision, a Receipt from an attempt."""

from collections.abc import Sequence
from typing import Any, Final

import orjson

from turnout.driver.commands import StepCommand
from turnout.driver.decision import Decision, Ready
from turnout.model.canonical import sha256_of
from turnout.model.policies import Timeouts
from turnout.model.protocol import (
    Followed,
    Next,
    Outcome,
    Parking,
    Problem,
    Progress,
    Receipt,
    Result,
    Start,
    StreamedChunk,
)
from turnout.model.runs import Attempt, Chunk, Failure, Journal, Run, Step
from turnout.model.status import AttemptState, ParkReason, StepState
from turnout.model.time import Millis, millis

CHUNK_LIMIT: Final = 500
"""Chunks in one answer."""
CHUNK_BYTES_LIMIT: Final = 512 * 1024
"""Bytes of the chunks in one answer; a message has at most 1 MiB."""


def next_of(
    run: Run,
    decision: Decision,
    ready: Sequence[Ready],
    timeouts: Timeouts,
    *,
    inline: int,
    lease_until: Millis | None = None,
) -> Next:
    """Say what a vendor run does next.

    ready: the attempts that may start; the others of the decision wait for a limit slot.
    lease_until: when the claim of another worker, for which the caller waits, counts as lost.
    """
    if run.state.terminal:
        return _ended(run, decision, inline)
    return Next(
        seq=run.seq,
        state=run.state,
        run=[_start(attempt, timeouts) for attempt in ready],
        park=_parking(
            decision, needs_slot=len(ready) < len(decision.ready), lease_until=lease_until
        ),
        progress=_progress(run, decision),
    )


def next_ended(journal: Journal, *, inline: int) -> Next:
    """Say how the run has ended."""
    completed = sum(step.state is StepState.COMPLETED for step in journal.steps.values())
    return _ended(journal.run, Decision(completed=completed), inline)


def step_timeout(command: StepCommand[Any], timeouts: Timeouts) -> Millis | None:
    """How long one attempt may take: the step's own limit, or the task's."""
    if command.timeout is not None:
        return command.timeout
    return None if timeouts.step is None else millis(timeouts.step)


def receipt_of(step: Step, attempt: Attempt) -> Receipt:
    """Say what became of an attempt; one that is still claimed is busy."""
    output, error = step.output, attempt.error
    completed = attempt.state is AttemptState.COMPLETED
    return Receipt(
        step=step.step,
        attempt=attempt.number,
        outcome=_outcome(attempt),
        duration_ms=max((attempt.ended_at or attempt.claimed_at) - attempt.claimed_at, 0),
        sha256=sha256_of(output) if completed and output is not None else None,
        error=_problem(error),
        retry_at=attempt.ended_at
        if attempt.state is AttemptState.INTERRUPTED
        else attempt.retry_at,
    )


def not_run(step: str, attempt: int, outcome: Outcome) -> Receipt:
    """Say that an attempt is busy or accepted: there is no outcome yet."""
    return Receipt(step=step, attempt=attempt, outcome=outcome)


def followed(run: Run, chunks: Sequence[Chunk]) -> Followed:
    """Answer a follow with as many of these chunks as fit; the first one always does.

    A vendor run counts only the chunks that it has to pass on itself.
    """
    fitting: list[StreamedChunk] = []
    size = 0
    for chunk in chunks:
        size += len(chunk.value) + len(chunk.name)
        if fitting and size > CHUNK_BYTES_LIMIT:
            break
        value = orjson.loads(chunk.value)
        fitting.append(StreamedChunk(number=chunk.number, stream=chunk.name, chunk=value))
    return Followed(
        seq=run.seq,
        recorded=run.chunks - run.passed,
        chunks=fitting,
        progress=_task_progress(run),
    )


def _ended(run: Run, decision: Decision, inline: int) -> Next:
    return Next(
        seq=run.seq,
        state=run.state,
        result=_result(run.result, inline),
        error=_problem(run.error),
        progress=_progress(run, decision),
    )


def _start(ready: Ready, timeouts: Timeouts) -> Start:
    command = ready.command
    return Start(
        step=command.id,
        index=ready.index,
        attempt=ready.attempt,
        timeout_ms=step_timeout(command, timeouts),
        label=f"{command.id} #{ready.attempt}",
    )


def _parking(decision: Decision, *, needs_slot: bool, lease_until: Millis | None) -> Parking | None:
    reasons = list(decision.reasons)
    if needs_slot and ParkReason.SLOT not in reasons:
        reasons.append(ParkReason.SLOT)
    if not reasons:
        return None
    until = decision.until
    if lease_until is not None:
        until = lease_until if until is None else min(until, lease_until)
    return Parking(until=until, reasons=reasons)


def _outcome(attempt: Attempt) -> Outcome:
    match attempt.state:
        case AttemptState.CLAIMED:
            return Outcome.BUSY
        case AttemptState.COMPLETED:
            return Outcome.COMPLETED
        case AttemptState.TIMED_OUT:
            return Outcome.TIMED_OUT
        case AttemptState.INTERRUPTED:
            return Outcome.RETRY
        case AttemptState.FAILED | AttemptState.LOST:
            return Outcome.FAILED if attempt.retry_at is None else Outcome.RETRY


def _progress(run: Run, decision: Decision) -> Progress:
    return Progress(
        completed=decision.completed,
        current=decision.current,
        progress=_task_progress(run),
        chunks=run.chunks - run.passed,
    )


def _task_progress(run: Run) -> Any:
    return None if run.progress is None else orjson.loads(run.progress)


def _result(result: bytes | None, inline: int) -> Result | None:
    if result is None:
        return None
    value = orjson.loads(result) if len(result) <= inline else None
    return Result(sha256=sha256_of(result), inline=value)


def _problem(error: Failure | None) -> Problem | None:
    return None if error is None else Problem(name=error.name, message=error.message)
