"""How a run changes state: each function takes what is recorded and returns the change to commit.

Nothing here reads a clock or a store. A function that finds nothing to change returns None:
a report that is late, repeated or out of order changes nothing.
"""

from turnout.errors import TurnoutError
from turnout.model.canonical import canonical_bytes, parse
from turnout.model.events import StoredEvent
from turnout.model.policies import Timeouts, at_path
from turnout.model.runs import Change, Failure, Journal, Run, Step, Transition, Wait
from turnout.model.status import TIMED, ParkReason, RunStatus, StepKind, StepState, TransitionCause
from turnout.model.text import message_of, name_of, storable
from turnout.model.time import Millis, millis

LONGEST_MESSAGE = 8_000
"""Characters of an error's message that are recorded."""


def failure(error: BaseException) -> Failure:
    """Record any error: the name of its class, and its message, cut to a limit. Never raises."""
    message = message_of(error, limit=LONGEST_MESSAGE)
    if not message and issubclass(type(error), TurnoutError):
        message = storable((type(error).__doc__ or "").strip()[:LONGEST_MESSAGE])
    return Failure(name=name_of(error), message=message)


def begin(journal: Journal, timeouts: Timeouts, now: Millis) -> Change | None:
    """Start a queued run, which has been called and holds its limit slot."""
    run = journal.run
    if run.state is not RunStatus.QUEUED:
        return None
    after = run._replace(
        state=RunStatus.RUNNING,
        started_at=now,
        deadline_at=None if timeouts.run is None else now + millis(timeouts.run),
        parked=False,
        parked_until=None,
        parked_for=(),
    )
    return Change(before=run, after=after, transitions=(_passed(RunStatus.RUNNING, now),))


def end(
    run: Run,
    state: RunStatus,
    now: Millis,
    *,
    result: bytes | None = None,
    error: Failure | None = None,
    by_us: bool = False,
    cause: TransitionCause = TransitionCause.CALL,
    actor: str | None = None,
) -> Change | None:
    """End a run. by_us: Turnout ends the run, not its vendor run, which must then be stopped."""
    if run.state.terminal:
        return None
    after = run._replace(
        state=state,
        fence=run.fence + (1 if by_us else 0),
        ended_at=now,
        deadline_at=None,
        parked=False,
        parked_until=None,
        parked_for=(),
        result=result,
        error=error,
    )
    return Change(
        before=run,
        after=after,
        transitions=(_passed(state, now, cause, actor),),
        stop_vendor=by_us,
    )


def cancel(
    run: Run,
    now: Millis,
    cause: TransitionCause = TransitionCause.CANCEL,
    actor: str | None = None,
) -> Change | None:
    """Cancel a run, because a caller or an event says so."""
    return end(run, RunStatus.CANCELLED, now, by_us=True, cause=cause, actor=actor)


def time_out(run: Run, now: Millis) -> Change | None:
    """End a run whose queue or run deadline has passed."""
    if run.deadline_at is None or run.deadline_at > now:
        return None
    deadline = "queue" if run.state is RunStatus.QUEUED else "run"
    error = Failure(name="TimedOut", message=f"the {deadline} deadline passed")
    cause = TransitionCause.DEADLINE
    return end(run, RunStatus.TIMED_OUT, now, error=error, by_us=True, cause=cause)


def release_time(run: Run, after: Millis, now: Millis) -> Millis | None:
    """Decide when a run that has just been parked is released; None: its vendor run waits with it.

    after: how long a vendor run may wait. A wait that will be longer for certain is released at
    once. While a step of the run is at work, its vendor run does not only wait.
    """
    left = None if run.parked_until is None else run.parked_until - now
    if ParkReason.STEP in run.parked_for or (left is not None and left <= after):
        return None
    return now if left is not None and TIMED.issuperset(run.parked_for) else now + after


def settle(
    journal: Journal,
    step_id: str,
    now: Millis,
    *,
    output: bytes | None = None,
    error: Failure | None = None,
) -> Change | None:
    """Settle an open step from outside its run, and wake the run for it."""
    run, step = journal.run, journal.steps.get(step_id)
    if run.state.terminal or step is None or step.state.settled:
        return None
    state = StepState.COMPLETED if error is None else StepState.FAILED
    settled = step._replace(state=state, ended_at=now, output=output, error=error)
    # No longer parked: the next advance parks it again, and sets its alarm.
    after = run._replace(parked=False, parked_until=None, parked_for=())
    return Change(before=run, after=after, steps=(settled,), wake_at=now)


def meet(journal: Journal, wait: Wait, event: StoredEvent, now: Millis) -> Change | None:
    """Let an event meet an open wait: settle the step that waits, or cancel the run."""
    if wait.step is None:
        return cancel(journal.run, now, TransitionCause.EVENT, event.event_id)
    step = journal.steps.get(wait.step)
    if step is None or (step.due_at is not None and step.due_at <= now):
        return None
    return settle(journal, wait.step, now, output=_output(wait, event))


def meet_earlier(journal: Journal, wait: Wait, event: StoredEvent) -> Change | None:
    """Let an event that was there before meet a wait that has just been opened."""
    step = journal.steps.get(wait.step or "")
    if step is None or wait.step is None:
        return None
    return settle(journal, wait.step, step.asked_at, output=_output(wait, event))


def child_ended(journal: Journal, child: Run, now: Millis) -> Change | None:
    """Settle a parent's invoke with its child's result, or with its failure."""
    step = _invoking(journal, child)
    if step is None or not child.state.terminal:
        return None
    if child.state is RunStatus.COMPLETED:
        return settle(journal, step.step, now, output=child.result or b"null")
    message = child.error.message if child.error else f"the run {child.run_id} was {child.state}"
    name = child.error.name if child.error else child.state.value
    return settle(journal, step.step, now, error=Failure(name=name, message=message))


def matches(wait: Wait, name: str, payload: object) -> bool:
    """Whether an event meets a wait; absent is null, and 1 is not true."""
    return wait.event == name and all(
        canonical_bytes(at_path(path, payload)) == value for path, value in wait.match
    )


def _passed(
    state: RunStatus,
    now: Millis,
    cause: TransitionCause = TransitionCause.CALL,
    actor: str | None = None,
) -> Transition:
    return Transition(state=state, at=now, cause=cause, actor=actor)


def _invoking(journal: Journal, child: Run) -> Step | None:
    step = journal.steps.get(child.parent_step or "")
    invoked = step is not None and step.kind is StepKind.INVOKE and step.child == child.run_id
    return step if invoked else None


def _output(wait: Wait, event: StoredEvent) -> bytes:
    return _whole(event) if wait.whole else event.payload


def _whole(event: StoredEvent) -> bytes:
    """Write an event as JSON: its payload, name, id, key and time."""
    return canonical_bytes(
        {
            "name": event.name,
            "payload": parse(event.payload),
            "event_id": event.event_id,
            "key": event.key,
            "emitted_at": event.emitted_at,
        }
    )
