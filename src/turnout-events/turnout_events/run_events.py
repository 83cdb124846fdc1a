"""Following a run: what happens to it, in order, read from its journal as it is committed.

No state is stored for a reader. Its position is in the id of the last event that it received, and
any process that can read the run store continues from there.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from turnout.errors import WrongUse
from turnout.model.canonical import sha256_of
from turnout.model.runs import Chunk, Failure, Journal, Step, Transition
from turnout.model.time import Millis
from turnout.ports.run_store import JournalStore

PAGE: Final = 100
"""Chunks that are read in one query."""
OVERLAP: Millis = 5_000
"""A reader that reconnects gets again the steps that ended this long before its last one."""
POLL_INTERVAL: Final = 0.5
"""Seconds between two looks at a run to which nothing happens."""
_NO_PROGRESS: Final = "0"
_COUNTS: Final = r"([0-9]{1,9})-([0-9]{1,9})-([0-9]{1,15})-([0-9a-f]{1,16})"
_ID: Final = re.compile(rf"{_COUNTS}-([0-9a-f]{{8}})")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPosition:
    """How far a reader of a run is. Written `states-chunks-ended-progress-run`, an event's id."""

    run: str
    """A short digest of the run's id: a position in another run is refused."""
    states: int = 0
    """How many changes of state were sent."""
    chunks: int = 0
    """How many chunks were sent."""
    ended: Millis = 0
    """When the last step ended whose end was sent."""
    progress: str = _NO_PROGRESS
    """A short digest of the progress that was sent last."""

    def __str__(self) -> str:
        return f"{self.states}-{self.chunks}-{self.ended}-{self.progress}-{self.run}"


def beginning(run_id: str) -> RunPosition:
    """Return the position of a reader who has received nothing."""
    return RunPosition(run=sha256_of(run_id.encode())[:8])


def read_position(text: str, run_id: str) -> RunPosition:
    """Read an event's id; WrongUse when it is not one, or is another run's."""
    match = _ID.fullmatch(text)
    if match is None:
        raise WrongUse(f"{text[:80]!r} is not the id of an event of a run; leave it out to begin")
    states, chunks, ended, progress, run = match.groups()
    start = beginning(run_id)
    if run != start.run:
        raise WrongUse(f"{text!r} is the id of an event of another run; leave it out to begin")
    return replace(
        start, states=int(states), chunks=int(chunks), ended=int(ended), progress=progress
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class RunEvent:
    """Something that happened to a run: `status`, `chunk`, `progress` or `step`."""

    id: str
    event: str
    data: dict[str, Any]


class RunReader:
    """One reader of one run."""

    def __init__(
        self, journals: JournalStore, run_id: str, position: RunPosition | None = None
    ) -> None:
        self._journals = journals
        self._run_id = run_id
        self._position = position or beginning(run_id)
        self._since = self._position.ended - OVERLAP
        self._steps: set[str] = set()
        self._seq = -1
        self.over = False
        """Whether the run has ended and every event was returned."""

    async def look(self) -> Sequence[RunEvent]:
        """Read the new events. An empty answer does not mean that no more come.

        UnknownRun; WrongUse where the position is beyond all that has happened to the run.
        """
        run, _ = await self._journals.streamed(self._run_id, after=self._position.chunks, limit=1)
        if run.seq == self._seq:
            return ()
        # In this order: once the last state is read, all that was committed before it is too.
        states = await self._journals.transitions(self._run_id)
        journal = await self._journals.load(self._run_id)
        _, chunks = await self._journals.streamed(
            self._run_id, after=self._position.chunks, limit=PAGE
        )
        return [*self._events(states, journal, chunks)]

    def _events(
        self, states: Sequence[Transition], journal: Journal, chunks: Sequence[Chunk]
    ) -> Iterator[RunEvent]:
        if len(states) < self._position.states or journal.run.chunks < self._position.chunks:
            raise WrongUse(
                f"{self._position} is beyond what happened to the run; leave it out to begin"
            )
        open_states = [change for change in states if not change.state.terminal]
        if len(open_states) < self._position.states:
            self.over = True  # a run's end is sent last, so all was sent
            return
        yield from self._state_events(open_states, journal)
        for chunk in chunks:
            self._position = replace(self._position, chunks=chunk.number + 1)
            yield self._event("chunk", _chunk_data(chunk))
        if self._position.chunks < journal.run.chunks:
            return  # the next look goes on with them
        yield from self._progress_events(journal)
        yield from self._step_events(journal)
        yield from self._state_events(states, journal)
        self._seq = journal.run.seq
        self.over = len(open_states) < len(states)

    def _state_events(self, states: Sequence[Transition], journal: Journal) -> Iterator[RunEvent]:
        for number, change in enumerate(states[self._position.states :], self._position.states + 1):
            self._position = replace(self._position, states=number)
            data: dict[str, Any] = {"state": change.state.value, "at": change.at}
            if change.state.terminal:
                data["error"] = _error_data(journal.run.error)
            yield self._event("status", data)

    def _progress_events(self, journal: Journal) -> Iterator[RunEvent]:
        progress = journal.run.progress
        digest = _NO_PROGRESS if progress is None else sha256_of(progress)[:16]
        if progress is not None and digest != self._position.progress:
            self._position = replace(self._position, progress=digest)
            yield self._event("progress", {"told": orjson.loads(progress)})

    def _step_events(self, journal: Journal) -> Iterator[RunEvent]:
        ended = [
            (step.ended_at, step.position, step)
            for step in journal.steps.values()
            if step.ended_at is not None
            and step.step not in self._steps
            and step.ended_at > self._since
        ]
        for ended_at, _, step in sorted(ended, key=lambda entry: entry[:2]):
            self._steps.add(step.step)
            self._position = replace(self._position, ended=max(ended_at, self._position.ended))
            attempts = len(journal.attempts.get(step.step, ()))
            yield self._event("step", _step_data(step, attempts))

    def _event(self, event: str, data: dict[str, Any]) -> RunEvent:
        return RunEvent(id=str(self._position), event=event, data=data)


async def follow(
    reader: RunReader, pause: Callable[[], Awaitable[Any]]
) -> AsyncIterator[Sequence[RunEvent]]:
    """Yield new events until the run has ended; an empty answer before each pause."""
    while True:
        events = await reader.look()
        yield events
        if reader.over:
            return
        if not events:
            await pause()


def _chunk_data(chunk: Chunk) -> dict[str, Any]:
    return {
        "stream": chunk.name,
        "number": chunk.number,
        "chunk": orjson.loads(chunk.value),
        "at": chunk.at,
        "step": chunk.step,
        "attempt": chunk.attempt,
    }


def _step_data(step: Step, attempts: int) -> dict[str, Any]:
    return {
        "step": step.step,
        "kind": step.kind.value,
        "state": step.state.value,
        "at": step.ended_at,
        "attempts": attempts,
        "error": _error_data(step.error),
    }


def _error_data(error: Failure | None) -> dict[str, str] | None:
    return None if error is None else {"name": error.name, "message": error.message}
