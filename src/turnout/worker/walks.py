"""A task function kept suspended between its steps, for a caller that goes on in this process.

It saves the way back to where the function stood, and nothing else: the journal stays the truth.
What it is asked next, it is asked of the journal that was committed as it stopped, with the outcome
of its step; of any other, or after a commit that failed, the function is closed and replayed.
"""

from collections.abc import Generator
from contextvars import Context, copy_context
from typing import Any

from turnout.model.runs import Journal
from turnout.model.tasks import Task
from turnout.model.time import Millis
from turnout.worker.decision import Decision
from turnout.worker.effects import Effects
from turnout.worker.replay import Replay, replay


class Walk:
    """One caller's way through one run. Whoever makes it closes it.

    keeps: whether the function stays suspended; else it is replayed each time, as for a vendor.
    """

    __slots__ = ("_context", "_keeps", "_replay", "_rest", "_stands")

    def __init__(self, *, keeps: bool) -> None:
        self._keeps = keeps
        self._stands: Journal | None = None
        self._replay: Replay | None = None
        self._rest: Generator[Any, Any, None] | None = None
        # The function's own: its contextvars are set and reset in one context, whoever steps it.
        self._context: Context | None = None

    def decide(
        self, task: Task, known: Journal, view: Journal, now: Millis, effects: Effects
    ) -> Decision:
        """Step the function as far as a journal goes: as `replay` of it would.

        known: the committed journal from which the view differs by what is about to be committed.
        """
        if not self._keeps:
            return replay(task, view, now, effects)
        if self._replay is not None and self._stands is known:
            self._replay.turn(view, now)
        else:
            self.close()
            self._context = copy_context()
            self._replay = Replay(task, view, now, effects, keeps=True)
            self._rest = self._replay.whole()
        self._stands = None
        return self._step(self._replay)

    def stands(self, journal: Journal) -> None:
        """Say that what was decided last has been committed, and what stands now."""
        if self._rest is not None:
            self._stands = journal

    def close(self) -> None:
        """Close the function: its `finally` blocks run now, and ctx refuses what they ask for."""
        rest, self._rest, self._replay, self._stands = self._rest, None, None, None
        if rest is not None:
            assert self._context is not None
            self._context.run(rest.close)

    def _step(self, walk: Replay) -> Decision:
        assert self._rest is not None
        assert self._context is not None
        try:
            self._context.run(next, self._rest)
        except StopIteration:
            self._rest = self._replay = None
        return walk.decision
