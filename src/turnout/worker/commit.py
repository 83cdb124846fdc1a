"""The next commit on a run, put together from all that is to be committed at once.

A commit starts from a journal as it was read, takes an attempt's outcome, what the replay after it
decided, and the run's end, and becomes one `Change`: applied whole, or not at all.
"""

from collections.abc import Mapping, Sequence

import orjson

from turnout.driver.commands import Streamed
from turnout.driver.decision import Decision
from turnout.driver.effects import Effects
from turnout.model.canonical import canonical_bytes
from turnout.model.runs import (
    Attempt,
    Calling,
    Change,
    Chunk,
    Emission,
    Journal,
    Run,
    Step,
    Transition,
    Wait,
)
from turnout.model.status import RunStatus
from turnout.model.time import Millis
from turnout.model.transitions import end


class Commit:
    """What is to be committed on one run, next to the journal that it was decided from."""

    __slots__ = (
        "_all_attempts",
        "_all_steps",
        "_attempts",
        "_chunks",
        "_emissions",
        "_steps",
        "_stop_vendor",
        "_transitions",
        "_waits",
        "added_bytes",
        "calling",
        "journal",
        "run",
    )

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.run: Run = journal.run
        # All rows, and the changed ones; a mapping of all is copied at the first change of it.
        self._all_steps: Mapping[str, Step] = journal.steps
        self._all_attempts: Mapping[str, tuple[Attempt, ...]] = journal.attempts
        self._steps: dict[str, Step] = {}
        self._attempts: dict[tuple[str, int], Attempt] = {}
        self._transitions: list[Transition] = []
        self._chunks: list[Chunk] = []
        self._waits: list[Wait] = []
        self._emissions: list[Emission] = []
        self._stop_vendor = False
        self.added_bytes = 0
        """Bytes of the outputs that it adds."""
        self.calling: Calling | None = None
        """The vendor run that claims its delivery with this commit."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to commit."""
        return self.run is self.journal.run and not (
            self._steps or self._attempts or self._emissions or self._waits or self.calling
        )

    def put_step(self, step: Step) -> None:
        """Insert or replace a step."""
        if not self._steps:
            self._all_steps = dict(self._all_steps)
        self.added_bytes += 0 if step.output is None else len(step.output)
        self._steps[step.step] = self._all_steps[step.step] = step  # type: ignore[index]

    def put_attempt(self, attempt: Attempt) -> None:
        """Insert or replace an attempt."""
        if not self._attempts:
            self._all_attempts = dict(self._all_attempts)
        self._attempts[attempt.step, attempt.number] = attempt
        earlier = self._all_attempts.get(attempt.step, ())[: attempt.number - 1]
        self._all_attempts[attempt.step] = (*earlier, attempt)  # type: ignore[index]

    def merge(self, change: Change | None) -> None:
        """Add a change of the run's state that was decided from `self.run`."""
        if change is None:
            return
        self.run = change.after
        self._transitions.extend(change.transitions)
        self._stop_vendor = self._stop_vendor or change.stop_vendor

    def record(self, decision: Decision, effects: Effects, now: Millis) -> None:
        """Add what a replay of `view()` decided."""
        for new in decision.new_steps:
            self.put_step(new.step)
            if new.wait is not None:
                self._waits.append(new.wait)
            if new.emission is not None:
                self._emissions.append(new.emission)
        self.record_settled(decision)
        if decision.state is RunStatus.RUNNING:
            if self.run.error != decision.held_by:
                self.run = self.run._replace(error=decision.held_by)
            self.park(decision)
            self._unpark(decision, now)
        else:
            state, result, error = decision.state, decision.result, decision.error
            self.finish(end(self.run, state, now, result=result, error=error), effects, now)

    def record_settled(self, decision: Decision) -> None:
        """Add only the steps and attempts that the replay settled."""
        for step in decision.steps:
            self.put_step(step)
        for attempt in decision.attempts:
            self.put_attempt(attempt)

    def park(self, decision: Decision) -> None:
        """Park the run, if it can do nothing but wait."""
        run = self.run
        if decision.ready:
            return  # the claim of the attempt unparks the run
        until, reasons = decision.until, decision.reasons
        if not (run.parked and run.parked_until == until and run.parked_for == reasons):
            self.run = run._replace(parked=True, parked_until=until, parked_for=reasons)

    def _unpark(self, decision: Decision, now: Millis) -> None:
        """Unpark a run that can go on, unless its wait is over now anyway.

        Its vendor run may die before it claims an attempt. The silence that follows is noticed only
        if the run is not parked.
        """
        run = self.run
        if decision.ready and run.parked and (run.parked_until is None or run.parked_until > now):
            self.run = unparked(run)

    def finish(self, change: Change | None, effects: Effects, now: Millis) -> None:
        """Add the end of the run, with the failure hook that it starts."""
        self.merge(change)
        emission = effects.ended(self.run, now) if change is not None else None
        if emission is not None:
            self._emissions.append(emission)

    def put_progress(self, progress: bytes | None) -> None:
        """Add the last value of ctx.progress."""
        if progress is not None and progress != self.run.progress:
            self.run = self.run._replace(progress=progress)

    def stream(self, streamed: Sequence[Streamed], now: Millis) -> None:
        """Add the chunks of the function itself that earlier replays have not streamed.

        They are counted by branch, because only calls of one branch keep their order.
        """
        if not streamed:
            return
        run = self.run
        recorded: dict[str, int] = {} if run.streamed is None else orjson.loads(run.streamed)
        counts: dict[str, int] = {}
        new: list[Streamed] = []
        for chunk in streamed:
            counts[chunk.branch] = number = counts.get(chunk.branch, 0) + 1
            if number > recorded.get(chunk.branch, 0):
                new.append(chunk)
        if new:
            branches = counts | recorded
            longest = {b: max(counts.get(b, 0), recorded.get(b, 0)) for b in branches}
            self.run = run._replace(streamed=canonical_bytes(longest))
            self._append(new, now)

    def stream_of(self, attempt: Attempt, streamed: Sequence[Streamed], now: Millis) -> None:
        """Add the chunks of an attempt's body that are not recorded yet."""
        new = streamed[attempt.streamed :]
        if new:
            self.put_attempt(attempt._replace(streamed=attempt.streamed + len(new)))
            self._append(new, now, attempt)

    def _append(self, new: Sequence[Streamed], now: Millis, attempt: Attempt | None = None) -> None:
        first = self.run.chunks
        self._chunks += [
            Chunk(
                number=number,
                name=chunk.name,
                value=chunk.value,
                at=now,
                step=None if attempt is None else attempt.step,
                attempt=None if attempt is None else attempt.number,
            )
            for number, chunk in enumerate(new, first)
        ]
        self.run = self.run._replace(chunks=first + len(new))

    def view(self) -> Journal:
        """Return the journal with what was added so far; its seq is still the old one."""
        return Journal(run=self.run, steps=self._all_steps, attempts=self._all_attempts)

    def committed(self) -> Journal:
        """Return the journal as it is after this commit."""
        run = self.run._replace(seq=self.journal.run.seq + 1)
        return Journal(run=run, steps=self._all_steps, attempts=self._all_attempts)

    def change(self, wake_at: Millis | None) -> Change:
        """Return the commit as a change to apply."""
        return Change(
            before=self.journal.run,
            after=self.run,
            steps=tuple(self._steps.values()),
            attempts=tuple(self._attempts.values()),
            transitions=tuple(self._transitions),
            chunks=tuple(self._chunks),
            waits=tuple(self._waits),
            emissions=tuple(self._emissions),
            wake_at=wake_at,
            stop_vendor=self._stop_vendor,
            calling=self.calling,
        )


def unparked(run: Run) -> Run:
    """Return the run, not parked."""
    if not run.parked:
        return run
    return run._replace(parked=False, parked_until=None, parked_for=())
