"""Following a run: what happens to it, in order, read from its journal as it is committed.

Nothing is kept for a reader: where it stands is in the id of the last thing it was told, and any
process that can read the run store goes on from there.
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
"""Chunks that are read at once."""
AGAIN: Millis = 5_000
"""Steps that ended this long before the last one told are told again to one who comes back."""
LOOK_EVERY: Final = 0.5
"""Seconds between two looks at a run to which nothing happens."""
_NOTHING: Final = "0"
_COUNTS: Final = r"([0-9]{1,9})-([0-9]{1,9})-([0-9]{1,15})-([0-9a-f]{1,16})"
_ID: Final = re.compile(rf"{_COUNTS}-([0-9a-f]{{8}})")


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """How far a reader of a run is. Written `states-chunks-ended-progress-run`, an event's id."""

    run: str
    """Names the run, in short: an id of another run tells nothing of this one."""
    states: int = 0
    """Changes of state that were told."""
    chunks: int = 0
    """Chunks that were told."""
    ended: Millis = 0
    """When the last step ended that was told."""
    progress: str = _NOTHING
    """Names what the task last said of itself, as it was told."""

    def __str__(self) -> str:
        return f"{self.states}-{self.chunks}-{self.ended}-{self.progress}-{self.run}"


def beginning(run_id: str) -> Place:
    """Give the place of a reader who was told nothing."""
    return Place(run=sha256_of(run_id.encode())[:8])


def read_place(text: str, run_id: str) -> Place:
    """Read an event's id; WrongUse when it is none of ours, or another run's."""
    found = _ID.fullmatch(text)
    if found is None:
        raise WrongUse(f"{text[:80]!r} is not the id of an event of a run; leave it out to begin")
    states, chunks, ended, progress, run = found.groups()
    begun = beginning(run_id)
    if run != begun.run:
        raise WrongUse(f"{text!r} is the id of an event of another run; leave it out to begin")
    return replace(
        begun, states=int(states), chunks=int(chunks), ended=int(ended), progress=progress
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """Something that happened to a run: `status`, `chunk`, `progress` or `step`."""

    id: str
    event: str
    data: dict[str, Any]


class Following:
    """One reader of one run."""

    def __init__(self, journals: JournalStore, run_id: str, place: Place | None = None) -> None:
        self._journals = journals
        self._run_id = run_id
        self._place = place or beginning(run_id)
        self._since = self._place.ended - AGAIN
        self._steps: set[str] = set()
        self._seq = -1
        self.over = False
        """Whether the run has ended and all has been told."""

    async def look(self) -> Sequence[Told]:
        """Read what is new. Nothing does not mean that nothing more comes.

        UnknownRun; WrongUse where the place is beyond all that has happened to the run.
        """
        run, _ = await self._journals.streamed(self._run_id, after=self._place.chunks, limit=1)
        if run.seq == self._seq:
            return ()
        # In this order: once the last state is read, all that was committed before it is too.
        states = await self._journals.transitions(self._run_id)
        journal = await self._journals.load(self._run_id)
        _, chunks = await self._journals.streamed(
            self._run_id, after=self._place.chunks, limit=PAGE
        )
        return [*self._news(states, journal, chunks)]

    def _news(
        self, states: Sequence[Transition], journal: Journal, chunks: Sequence[Chunk]
    ) -> Iterator[Told]:
        if len(states) < self._place.states or journal.run.chunks < self._place.chunks:
            raise WrongUse(
                f"{self._place} is beyond what happened to the run; leave it out to begin"
            )
        open_states = [each for each in states if not each.state.terminal]
        if len(open_states) < self._place.states:
            self.over = True  # a run's end is told last, so all was told
            return
        yield from self._states(open_states, journal)
        for chunk in chunks:
            self._place = replace(self._place, chunks=chunk.number + 1)
            yield self._told("chunk", _of_chunk(chunk))
        if self._place.chunks < journal.run.chunks:
            return  # the next look goes on with them
        yield from self._progress(journal)
        yield from self._ends(journal)
        yield from self._states(states, journal)
        self._seq = journal.run.seq
        self.over = len(open_states) < len(states)

    def _states(self, states: Sequence[Transition], journal: Journal) -> Iterator[Told]:
        for number, each in enumerate(states[self._place.states :], self._place.states + 1):
            self._place = replace(self._place, states=number)
            data: dict[str, Any] = {"state": each.state.value, "at": each.at}
            if each.state.terminal:
                data["error"] = _problem(journal.run.error)
            yield self._told("status", data)

    def _progress(self, journal: Journal) -> Iterator[Told]:
        said = journal.run.progress
        name = _NOTHING if said is None else sha256_of(said)[:16]
        if said is not None and name != self._place.progress:
            self._place = replace(self._place, progress=name)
            yield self._told("progress", {"told": orjson.loads(said)})

    def _ends(self, journal: Journal) -> Iterator[Told]:
        ended = [
            (each.ended_at, each.position, each)
            for each in journal.steps.values()
            if each.ended_at is not None
            and each.step not in self._steps
            and each.ended_at > self._since
        ]
        for at, _, step in sorted(ended, key=lambda each: each[:2]):
            self._steps.add(step.step)
            self._place = replace(self._place, ended=max(at, self._place.ended))
            yield self._told("step", _of_step(step, len(journal.attempts.get(step.step, ()))))

    def _told(self, event: str, data: dict[str, Any]) -> Told:
        return Told(id=str(self._place), event=event, data=data)


async def follow(
    following: Following, pause: Callable[[], Awaitable[Any]]
) -> AsyncIterator[Sequence[Told]]:
    """Give what happens until the run has ended; nothing, now and then, while nothing does."""
    while True:
        news = await following.look()
        yield news
        if following.over:
            return
        if not news:
            await pause()


def _of_chunk(chunk: Chunk) -> dict[str, Any]:
    return {
        "stream": chunk.name,
        "number": chunk.number,
        "chunk": orjson.loads(chunk.value),
        "at": chunk.at,
        "step": chunk.step,
        "attempt": chunk.attempt,
    }


def _of_step(step: Step, attempts: int) -> dict[str, Any]:
    return {
        "step": step.step,
        "kind": step.kind.value,
        "state": step.state.value,
        "at": step.ended_at,
        "attempts": attempts,
        "error": _problem(step.error),
    }


def _problem(error: Failure | None) -> dict[str, str] | None:
    return None if error is None else {"name": error.name, "message": error.message}
