"""A run that is taken through its life in memory, without a store and without a worker."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from turnout.driver.decision import Decision
from turnout.driver.effects import LiveEffects
from turnout.driver.replay import replay
from turnout.driver.retries import BodyOutcome, settle_attempt
from turnout.model.canonical import canonical_bytes
from turnout.model.runs import Attempt, Emission, Failure, Journal, Run
from turnout.model.status import AttemptState, RunStatus
from turnout.model.tasks import App, Task, app
from turnout.model.time import Millis
from turnout.model.transitions import meet
from turnout.worker.commit import Commit

NOW = 1_800_000_000_000


def journal_of(task: Task, payload: Any = None) -> Journal:
    """A run of a task that has just started."""
    return Journal(
        run=Run(
            run_id="run-1",
            task=task.id,
            provider="local",
            payload=canonical_bytes({} if payload is None else payload),
            event="go",
            event_id="event-1",
            emitted_at=NOW,
            due_at=NOW,
            state=RunStatus.RUNNING,
            started_at=NOW,
        )
    )


class PureRun:
    """Takes a run through its life by the pure parts alone."""

    def __init__(self, task: Task, payload: Any = None, *, beside: tuple[Task, ...] = ()) -> None:
        self.app: App = app("test", task, *beside)
        self.task = task
        self.effects = LiveEffects(self.app)
        self.journal = journal_of(task, payload)
        self.now: Millis = NOW
        self.emissions: list[Emission] = []
        self.executed: list[tuple[str, int]] = []
        self.decision = self.look()

    def look(self) -> Decision:
        """Replay, and commit what was decided."""
        draft = Commit(self.journal)
        return self._commit(draft)

    def execute(self, step: str, outcome: BodyOutcome) -> Decision:
        """Claim the attempt that is ready, and settle it with an outcome."""
        ready = next(each for each in self.decision.ready if each.command.id == step)
        self.executed.append((step, ready.attempt))
        draft = Commit(self.journal)
        draft.put_attempt(self._claim(step, ready.attempt))
        self.journal = draft.committed()
        draft = Commit(self.journal)
        settled, after = settle_attempt(
            "run-1",
            self.journal.steps[step],
            self.journal.attempts[step],
            ready.command.retries or self.task.policies.retries,
            outcome,
            self.now,
        )
        draft.put_attempt(settled)
        draft.put_step(after)
        return self._commit(draft)

    def run_bodies(self, limit: int = 200) -> Decision:
        """Call the functions of all that is ready, and skip the time between, to the end."""
        for _ in range(limit):
            if self.decision.state is not RunStatus.RUNNING:
                break
            if self.decision.ready:
                command = self.decision.ready[0].command
                self.execute(command.id, called(command.function, command.args))
            elif self.decision.until is not None:
                self.now = max(self.now, self.decision.until)
                self.look()
            else:
                break
        return self.decision

    def settle(self, change: Any) -> Decision:
        """Take a change that comes from outside the run."""
        draft = Commit(self.journal)
        draft.merge(change)
        for step in change.steps:
            draft.put_step(step)
        self.journal = draft.committed()
        return self.look()

    def meet(self, event: Any) -> Decision:
        """Let an event meet the first wait of the run."""
        return self.settle(meet(self.journal, self.waits[0], event, self.now))

    def _claim(self, step: str, number: int) -> Attempt:
        return Attempt(
            step=step,
            number=number,
            state=AttemptState.CLAIMED,
            fence=0,
            worker="w",
            claimed_at=self.now,
            lease_until=self.now + 15_000,
        )

    def _commit(self, draft: Commit) -> Decision:
        self.decision = replay(self.task, draft.view(), self.now, self.effects)
        draft.record(self.decision, self.effects, self.now)
        change = draft.change(None)
        self.waits = [*getattr(self, "waits", []), *change.waits]
        self.emissions.extend(change.emissions)
        self.journal = draft.committed()
        return self.decision


def called(function: Callable[..., Any], args: tuple[Any, ...]) -> BodyOutcome:
    """What a sync body comes to."""
    try:
        return BodyOutcome(output=canonical_bytes(function(*args)))
    except Exception as error:  # noqa: BLE001
        return BodyOutcome(error=Failure(name=type(error).__name__, message=str(error)))


def ok(value: Any) -> BodyOutcome:
    """A body that returned."""
    return BodyOutcome(output=canonical_bytes(value))


def bad(name: str = "ValueError", message: str = "no") -> BodyOutcome:
    """A body that raised."""
    return BodyOutcome(error=Failure(name=name, message=message))


def positions(journal: Journal) -> Mapping[str, str]:
    """Where each step was asked."""
    return {each.step: each.position for each in journal.steps.values()}


def in_state(journal: Journal, **values: Any) -> Journal:
    """The journal with some of its run's values changed."""
    return replace(journal, run=journal.run._replace(**values))
