"""How long a run executed, waited and stood still: pure arithmetic over its journal."""

from collections.abc import Iterable, Iterator
from itertools import chain

from turnout.model.documents import Timings
from turnout.model.runs import Attempt, Delivery, Journal, Step
from turnout.model.status import AttemptState, DeliveryReason, StepKind
from turnout.model.time import Millis

Span = tuple[Millis, Millis]
_STOPPED = {AttemptState.LOST, AttemptState.INTERRUPTED}


def timings(journal: Journal, deliveries: Iterable[Delivery] = ()) -> Timings:
    """Split a run's time into executing, waiting as planned, and overhead.

    A moment counts once: executing wins over waiting. What is neither, the wait for a slot
    included, is overhead; it is not known where a worker was stopped or killed in an attempt. After
    a release, the time in the provider's queue counts as waiting: only some providers release runs,
    so it is not compared. Durations are never negative: a clock may have been stepped back between
    a begin and its end.
    """
    run = journal.run
    attempts = [*chain.from_iterable(journal.attempts.values())]
    executing = [_executed(attempt) for attempt in attempts if attempt.ended_at is not None]
    end = run.ended_at
    busy = merged(executing)
    planned = [*_planned(journal, attempts), *_returns(deliveries)]
    waiting = _within(merged([*planned, *busy]), run.emitted_at, end)
    waited = length(waiting) - length(_within(busy, run.emitted_at, end))
    total = None if end is None else max(0, end - run.emitted_at)
    stopped = any(attempt.state in _STOPPED for attempt in attempts)
    return Timings(
        queued_ms=None if run.started_at is None else max(0, run.started_at - run.emitted_at),
        execution_ms=sum(last - first for first, last in executing),
        waiting_ms=waited,
        total_ms=total,
        overhead_ms=None if total is None or stopped else max(0, total - length(waiting)),
    )


def merged(spans: Iterable[Span]) -> list[Span]:
    """Join spans that overlap or touch; sorted."""
    joined: list[Span] = []
    for first, last in sorted(span for span in spans if span[1] > span[0]):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined


def length(spans: Iterable[Span]) -> Millis:
    """Add up spans that do not overlap."""
    return sum(last - first for first, last in spans)


def _within(spans: Iterable[Span], first: Millis, last: Millis | None) -> list[Span]:
    end = last if last is not None else max((span[1] for span in spans), default=first)
    cut = [(max(a, first), min(b, end)) for a, b in spans]
    return [(a, b) for a, b in cut if b > a]


def _planned(journal: Journal, attempts: Iterable[Attempt]) -> Iterator[Span]:
    run = journal.run
    yield run.emitted_at, run.due_at
    for step in journal.steps.values():
        if step.kind is not StepKind.STEP:
            yield step.asked_at, _until(step)
    for attempt in attempts:
        if attempt.ended_at is not None and attempt.retry_at is not None:
            yield attempt.ended_at, attempt.retry_at


def _returns(deliveries: Iterable[Delivery]) -> Iterator[Span]:
    """How long each vendor run of a released run took to call."""
    for delivery in deliveries:
        sent_at, claimed_at = delivery.sent_at, delivery.claimed_at
        if delivery.reason is DeliveryReason.RELEASED and sent_at is not None and claimed_at:
            yield sent_at, claimed_at


def _until(step: Step) -> Millis:
    """When a wait was over as planned: a sleep at its time, others when they were settled."""
    planned = step.due_at if step.kind is StepKind.SLEEP else step.ended_at
    return step.asked_at if planned is None else planned


def _executed(attempt: Attempt) -> Span:
    assert attempt.ended_at is not None
    return attempt.claimed_at, max(attempt.claimed_at, attempt.ended_at)
