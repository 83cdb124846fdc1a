"""The driver: replays a task function over its journal, and decides what comes next.

The function runs from its top. A command with a recorded outcome is answered from the journal; at a
command without one the function is closed, and what it has asked for is the decision. The driver
uses no clock, no store and no event loop. It throws nothing into the function but the failures of
its own steps.
"""

import asyncio
import types
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Final, Literal

from turnout.driver.commands import MISSING, Command, ParallelCommand, ReplaySession, StepCommand
from turnout.driver.context import Context
from turnout.driver.decision import Decision, Ready
from turnout.driver.effects import Effects
from turnout.driver.retries import counted, lose_attempt
from turnout.driver.values import decode, encode, output_adapter
from turnout.errors import (
    DuplicateStep,
    ForeignAwait,
    InvalidJson,
    ModelChanged,
    ReplayError,
    StepChanged,
    StepFailed,
    TooLarge,
)
from turnout.model.ids import check_step_id
from turnout.model.runs import Attempt, Failure, Journal, Step
from turnout.model.status import AttemptState, ParkReason, RunStatus, StepKind, StepState
from turnout.model.tasks import Task
from turnout.model.time import Millis
from turnout.model.transitions import failure

MAX_STEPS: Final = 10_000
"""Steps of one run; a function that asks for more is assumed to be endless."""
HOLD: Final[Millis] = 60_000
"""The time after which a run is tried again whose records do not fit the code."""

_AWAITS: Final = "awaits"
_RETURNED: Final = "returned"
_RAISED: Final = "raised"
_BLOCKED: Final = "blocked"
_HELD: Final = "held"
_Walked = tuple[Literal["awaits", "returned", "raised", "blocked", "held"], Any]
_WAITS: Final = {
    StepKind.SLEEP: ParkReason.SLEEP,
    StepKind.EVENT: ParkReason.EVENT,
    StepKind.INVOKE: ParkReason.CHILD,
}


def replay(task: Task, journal: Journal, now: Millis, effects: Effects) -> Decision:
    """Run a task function as far as its journal has outcomes, and close it."""
    current = _Replay(task, journal, now, effects)
    try:
        next(current.run())
    except StopIteration:
        return current.decision
    raise AssertionError("a strict replay awaits nothing")


async def replay_open(task: Task, journal: Journal, now: Millis, effects: Effects) -> Decision:
    """Replay an adopted function; what it awaits beside ctx is awaited again at each replay."""
    current = _Replay(task, journal, now, effects)
    await _awaiting(current)
    return current.decision


@types.coroutine
def _awaiting(current: "_Replay") -> Generator[Any, Any, None]:
    yield from current.run()


class _Replay:
    """One replay of one function."""

    __slots__ = (
        "_park_reasons",
        "attempts",
        "decision",
        "effects",
        "journal",
        "now",
        "retries",
        "session",
        "steps",
        "suspended",
        "task",
        "was_cancelled",
    )

    def __init__(self, task: Task, journal: Journal, now: Millis, effects: Effects) -> None:
        self.task = task
        self.journal = journal
        self.steps = journal.steps
        self.attempts = journal.attempts
        self.now = now
        self.effects = effects
        self.retries = journal.run.retries or task.policies.retries
        self.session = ReplaySession(journal.steps)
        self.suspended: dict[int, Any] = {}
        """Coroutines that wait, by identity, outermost first."""
        self.was_cancelled = False
        """Whether an await of the function was cancelled, by its own timeout or by our stop."""
        self.decision = Decision()
        self._park_reasons: dict[ParkReason, None] = {}

    def run(self) -> Generator[Any, Any, None]:
        """Replay the function into `decision`; yields what an adopted function awaits itself."""
        try:
            outcome, value = yield from self._walk(self._function(), "")
            self._check_stop()
            if outcome is _RETURNED:
                self._check_awaited()
        except BaseException as error:  # a validator's or a fault of the replay: it ends the run
            if _is_stop(error):
                raise
            outcome, value = (_HELD if isinstance(error, ModelChanged) else _RAISED), error
        finally:
            self._close()
        self._conclude(outcome, value)

    def _function(self) -> Any:
        run = self.journal.run
        payload = self.task.read_recorded(decode(run.payload, None, subject="the payload"))
        return _coroutine(
            self.task.function(Context(self.task, run, payload, self.session), payload)
        )

    def _walk(self, coroutine: Any, prefix: str) -> Generator[Any, Any, _Walked]:
        self.suspended[id(coroutine)] = coroutine
        session, place, value, error = self.session, 0, None, None
        while True:
            session.branch, session.place = prefix, place
            proceed = coroutine.send if error is None else coroutine.throw
            state, awaited = _resume(proceed, value if error is None else error)
            if state is not _AWAITS:
                del self.suspended[id(coroutine)]
                return state, awaited
            place, value, error = session.place, None, None
            if isinstance(awaited, ParallelCommand):
                outcome, result = yield from self._branches(awaited, prefix, place)
            elif isinstance(awaited, Command):
                outcome, result = self._resolve(awaited, prefix, place)
            else:
                value, error = yield from self._foreign(awaited)
                continue
            if outcome is _BLOCKED:
                return _BLOCKED, None
            if outcome is _RAISED:
                error = result
            else:
                value = result
            place += 1

    def _branches(
        self, command: ParallelCommand, prefix: str, place: int
    ) -> Generator[Any, Any, _Walked]:
        self._check_own(command)
        walked: list[_Walked] = []
        for number, branch in enumerate(command.branches):
            if isinstance(branch, Command) and branch.kind is not None:
                walked.append(self._answer(branch, prefix, place, number))
                continue
            inner = _inner(prefix, place, number)
            walked.append((yield from self._walk(_branch(branch), inner)))
        if any(outcome is _BLOCKED for outcome, _ in walked):
            return _BLOCKED, None
        if not command.return_exceptions:
            for outcome, value in walked:
                if outcome is _RAISED:
                    return _RAISED, value
        return _RETURNED, [value for _, value in walked]

    def _answer(self, command: Command[Any], prefix: str, place: int, number: int) -> _Walked:
        """Answer a branch that is a single command."""
        self.session.unawaited.pop(command, None)
        value = MISSING if command.session is not self.session else self.session.recall(command)
        if value is not MISSING:
            return _RETURNED, value
        return self._resolve(command, _inner(prefix, place, number), 0)

    def _foreign(self, awaited: Any) -> Generator[Any, Any, tuple[Any, BaseException | None]]:
        if not self.task.open_mode:
            if hasattr(awaited, "cancel"):
                awaited.cancel()
            raise ForeignAwait(
                f"task {self.task.id!r} awaits {_described(awaited)}, which is not ctx's: put it"
                " into a step, and use ctx.sleep and ctx.parallel in place of asyncio's"
            )
        try:
            return (yield awaited), None
        except BaseException as error:  # noqa: BLE001 - thrown into the function, which may catch it
            self.was_cancelled = self.was_cancelled or isinstance(error, asyncio.CancelledError)
            return None, error

    def _check_stop(self) -> None:
        """Raise CancelledError where this process stops: the function's reaction must not count.

        A timeout of the function itself also cancels its await, but takes the cancel back.
        """
        if self.was_cancelled and _stopping():
            raise asyncio.CancelledError

    def _check_own(self, command: Command[Any]) -> None:
        self._check_stop()
        if command.session is not self.session:
            raise ReplayError(f"{command} belongs to another run's ctx")

    def _resolve(self, command: Command[Any], prefix: str, place: int) -> _Walked:
        self._check_own(command)
        name = command.id
        if type(name) is not str:  # a subclass may have a hash of its own
            name = command.id = check_step_id(name)
        asked_ids = self.session.asked_ids
        if name in asked_ids:
            raise DuplicateStep(
                f"step id {name!r} is used twice in task {self.task.id!r};"
                " give each step an id of its own"
            )
        index = len(asked_ids)
        asked_ids.add(name)
        step = self.steps.get(name)
        if step is None:
            step = self._record(command, prefix + _number(place), index)
        elif step.kind is not command.kind:
            raise StepChanged(
                f"step {name!r} of task {self.task.id!r} is recorded as {step.kind} and asked for"
                f" as {command.kind}; give the new one a new id"
            )
        if step.state is StepState.OPEN:
            step = self._decide_open(command, step, index)
        if step.state is StepState.COMPLETED:
            self.decision.completed += 1
            return _RETURNED, self._output(command, step)
        if step.state is StepState.FAILED:
            return _RAISED, self._failure(step)
        self.decision.current.append(name)
        return _BLOCKED, None

    def _record(self, command: Command[Any], position: str, index: int) -> Step:
        if index >= MAX_STEPS:
            raise ReplayError(f"task {self.task.id!r} asks for more than {MAX_STEPS:,} steps")
        new = self.effects.record(self.journal.run, command, position, self.now)
        self.decision.new_steps.append(new)
        return new.step

    def _decide_open(self, command: Command[Any], step: Step, index: int) -> Step:
        """Decide about an open step: it is due, an attempt may start, or the run waits for it."""
        if isinstance(command, StepCommand):
            return self._decide_attempt(command, step, index)
        if step.due_at is not None and step.due_at <= self.now:
            step = self.effects.due(self.journal.run, step, self.now)
            self.decision.steps.append(step)
            return step
        self._wait(_WAITS[step.kind], step.due_at)
        return step

    def _decide_attempt(self, command: StepCommand[Any], step: Step, index: int) -> Step:
        decision, now = self.decision, self.now
        attempts = self.attempts.get(step.step, ())
        last = attempts[-1] if attempts else None
        if last is not None and last.state is AttemptState.CLAIMED and last.lease_until <= now:
            retries = command.retries or self.retries
            last, step = lose_attempt(self.journal.run.run_id, step, attempts, retries, now)
            decision.attempts.append(last)
            if step.state is not StepState.OPEN:
                decision.steps.append(step)
                return step
        decision.commands[step.step] = (command, index)
        if last is None or last.state is AttemptState.INTERRUPTED:
            decision.ready.append(Ready(command=command, attempt=len(attempts) + 1, index=index))
        elif last.state is AttemptState.CLAIMED:
            # No alarm: its worker commits, or the pump sees the lease run out; both wake the run.
            self._wait(ParkReason.STEP, None)
        elif last.retry_at is not None and last.retry_at > now:
            self._wait(ParkReason.BACKOFF, last.retry_at)
        else:
            decision.ready.append(Ready(command=command, attempt=len(attempts) + 1, index=index))
        return step

    def _lose_unasked(self) -> None:
        """Settle lost attempts of steps that the function no longer asks for; nothing else does."""
        for name in self.decision.unasked:
            step, attempts = self.steps[name], self._attempts_of(name)
            claimed = step.state is StepState.OPEN and attempts[-1:]
            if claimed and attempts[-1].state is AttemptState.CLAIMED:
                if attempts[-1].lease_until > self.now:
                    continue
                run_id = self.journal.run.run_id
                lost, step = lose_attempt(run_id, step, attempts, self.retries, self.now)
                self.decision.attempts.append(lost)
                self.decision.steps.append(step)

    def _wait(self, reason: ParkReason, until: Millis | None) -> None:
        self._park_reasons[reason] = None
        earliest = self.decision.until
        if until is not None and (earliest is None or until < earliest):
            self.decision.until = until

    def _output(self, command: Command[Any], step: Step) -> Any:
        if step.output is None:
            return None
        adapter = output_adapter(command.function) if isinstance(command, StepCommand) else None
        return decode(step.output, adapter, subject=f"the output of step {step.step!r}")

    def _failure(self, step: Step) -> StepFailed:
        error = step.error or Failure(name="Unknown", message="")
        attempts = counted(self._attempts_of(step.step))
        return StepFailed(step.step, error.name, error.message, attempts=attempts or 1)

    def _attempts_of(self, step_id: str) -> tuple[Attempt, ...]:
        return self.attempts.get(step_id, ())

    def _check_awaited(self) -> None:
        for command in self.session.unawaited:
            raise ReplayError(
                f"task {self.task.id!r} made {command} and never awaited it; write await"
            )

    def _close(self) -> None:
        """Close what is suspended, innermost first; its `finally` blocks run, ctx is refused."""
        self.session.open = False
        for coroutine in reversed(self.suspended.values()):
            # An error in closing does not change the decision.
            _resume(_close_coroutine, coroutine)
        self.suspended.clear()

    def _hold(self, error: ModelChanged) -> None:
        """Leave the run as it is until it is looked at again, maybe by other code."""
        until = self.now + HOLD
        self.decision = Decision(held_by=failure(error), reasons=(ParkReason.BACKOFF,), until=until)

    def _conclude(self, outcome: str, value: Any) -> None:
        if outcome is _HELD:
            self._hold(value)
            return
        decision = self.decision
        session = self.session
        decision.completed += session.completed
        decision.progress = session.progress
        decision.streamed = session.streamed
        if not session.asked_ids.issuperset(self.steps):
            decision.unasked = tuple(name for name in self.steps if name not in session.asked_ids)
            self._lose_unasked()
        if outcome is _BLOCKED:
            decision.reasons = tuple(self._park_reasons)
            return
        if outcome is _RETURNED:
            try:
                decision.result = encode(value, subject=f"the result of task {self.task.id!r}")
                decision.state = RunStatus.COMPLETED
            except (InvalidJson, TooLarge) as error:
                outcome, value = _RAISED, error
        if outcome is _RAISED:
            decision.state = RunStatus.FAILED
            decision.error = failure(value)
        decision.new_steps = [new for new in decision.new_steps if new.step.state.settled]
        decision.ready, decision.commands, decision.current = [], {}, []
        decision.until = None


def _resume(proceed: Callable[..., Any], *arguments: Any) -> _Walked:
    """Let a coroutine of the user's go on: what it awaits, what it returned, or what it raised."""
    try:
        return _AWAITS, proceed(*arguments)
    except StopIteration as stop:
        return _RETURNED, stop.value
    except BaseException as error:  # noqa: BLE001 - whatever it raises is its outcome
        return _RAISED, error


def _close_coroutine(coroutine: Any) -> None:
    coroutine.close()


def _is_stop(error: BaseException) -> bool:
    return isinstance(error, asyncio.CancelledError) and _stopping()


def _stopping() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _inner(prefix: str, place: int, number: int) -> str:
    """Write the prefix of the positions in a branch of a parallel command."""
    return f"{prefix}{_number(place)}.{_number(number)}."


def _number(index: int) -> str:
    """Write a number as text that sorts in the order of numbers."""
    return f"{index:04d}" if index < 10_000 else f"a{index:08d}"  # noqa: PLR2004 - four digits


def _branch(branch: Any) -> Any:
    if isinstance(branch, Command) or hasattr(branch, "send"):
        return _coroutine(branch)
    return _call_branch(branch)


async def _call_branch(branch: Callable[[], Awaitable[Any]]) -> Any:
    return await branch()


def _coroutine(awaitable: Any) -> Any:
    return awaitable if hasattr(awaitable, "send") else _awaited(awaitable)


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _described(awaited: Any) -> str:
    return "a bare yield, such as asyncio.sleep(0)" if awaited is None else f"{awaited!r:.200}"
