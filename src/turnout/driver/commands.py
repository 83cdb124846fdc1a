"""What a task function can ask for.

A command does nothing by itself. When it is awaited, the driver answers it with the outcome that
the journal has under its id.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Final, Generic, TypeVar

import orjson

from turnout.driver.values import encode, output_adapter
from turnout.errors import ReplayError
from turnout.model.canonical import canonical_bytes
from turnout.model.policies import Retries
from turnout.model.runs import Step
from turnout.model.status import StepKind, StepState
from turnout.model.time import Millis

T = TypeVar("T")

_REFUSAL_LIMIT: Final = 100
"""Refusals that a function may ignore while it is closed, before it is left suspended."""


@dataclass(frozen=True, slots=True)
class Streamed:
    """One call of ctx.stream."""

    branch: str
    """The position of the branch that called; empty outside of branches and in a step's body."""
    name: str
    value: bytes


_COMPLETED: Final = StepState.COMPLETED

MISSING: Final = object()
"""In place of an outcome: the driver decides."""


class ReplaySession:
    """One replay of a function: what it has asked for, and whether it may ask for more."""

    __slots__ = (
        "asked_ids",
        "branch",
        "completed",
        "open",
        "place",
        "plain_function",
        "progress",
        "recorded",
        "refused",
        "streamed",
        "streamed_bytes",
        "unawaited",
    )

    def __init__(self, recorded: Mapping[str, Step] = MappingProxyType({})) -> None:
        self.recorded = recorded
        """The steps of the journal, by id."""
        self.asked_ids: set[str] = set()
        """The ids that the function has asked for in this replay."""
        self.completed = 0
        """How many of them were answered with a recorded output."""
        self.place = 0
        """How many commands the branch that is being stepped has asked for."""
        self.plain_function: Callable[..., Any] | None = None
        """The last step's function, if its output needs no model to be read."""
        self.open = True
        """Whether the function may ask for commands."""
        self.refused = 0
        """How many commands were refused."""
        self.unawaited: dict[Command[Any], None] = {}
        """Commands that were made and not awaited yet, in order."""
        self.progress: bytes | None = None
        """The last value of ctx.progress, as JSON."""
        self.branch = ""
        """The prefix of positions in the branch that is being stepped."""
        self.streamed: list[Streamed] = []
        self.streamed_bytes = 0
        """Bytes of all values in `streamed`."""

    def recall(self, command: "Command[Any]") -> Any:
        """Answer a command with its recorded output; MISSING where the driver must decide.

        This is most of the work of a replay: nothing is suspended for it.
        """
        name = command.id
        if type(name) is not str or name in self.asked_ids:
            return MISSING
        step = self.recorded.get(name)
        if step is None or step.state is not _COMPLETED or step.kind is not command.kind:
            return MISSING
        if isinstance(command, StepCommand) and command.function is not self.plain_function:
            if output_adapter(command.function) is not None:
                return MISSING  # the output may no longer fit its model
            self.plain_function = command.function
        self.asked_ids.add(name)
        self.completed += 1
        self.place += 1
        return None if step.output is None else orjson.loads(step.output)

    def refuse(self, command: "Command[Any]") -> None:
        """Raise ReplayError for a command outside of a replay, up to a number of times.

        A function that catches the error and asks again would never end: it is left suspended.
        """
        self.refused += 1
        if self.refused <= _REFUSAL_LIMIT:
            raise ReplayError(
                f"{command} is asked for outside of a replay: ctx.* is awaited in the task function"
                " itself, never in a step's body or while the function is being closed"
            )


@dataclass(slots=True, eq=False, repr=False)
class Command(Generic[T]):
    """Something a task function asks for, awaited at most once."""

    kind: ClassVar[StepKind | None] = None
    session: ReplaySession
    id: str

    def __post_init__(self) -> None:
        self.session.unawaited[self] = None

    def __await__(self) -> Generator["Command[T]", Any, T]:
        session = self.session
        session.unawaited.pop(self, None)
        if not session.open:
            session.refuse(self)
        result: T = session.recall(self)
        if result is MISSING:
            result = yield self
        return result

    def __str__(self) -> str:
        return f"{self.kind or 'parallel'} {self.id!r}"


@dataclass(slots=True, eq=False, repr=False)
class StepCommand(Command[T]):
    """Run a function once, and keep what it returns."""

    kind = StepKind.STEP
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    retries: Retries | None
    timeout: Millis | None


@dataclass(slots=True, eq=False, repr=False)
class SleepCommand(Command[None]):
    """Wait for a while, or until a moment."""

    kind = StepKind.SLEEP
    duration: Millis | None
    until: Millis | None


@dataclass(slots=True, eq=False, repr=False)
class EventCommand(Command[Any]):
    """Wait for an event that matches; None when none came in time."""

    kind = StepKind.EVENT
    event: str
    match: str | Mapping[str, Any] | None
    timeout: Millis
    whole: bool = False
    since_run: bool = False


@dataclass(slots=True, eq=False, repr=False)
class InvokeCommand(Command[Any]):
    """Start another task, and wait for its result."""

    kind = StepKind.INVOKE
    task: str
    payload: Any
    timeout: Millis | None


@dataclass(slots=True, eq=False, repr=False)
class EmitCommand(Command[str]):
    """Emit an event, once."""

    kind = StepKind.EMIT
    event: str
    payload: Any
    key: str | None
    at: Millis | None = None


@dataclass(slots=True, eq=False, repr=False)
class ParallelCommand(Command[list[Any]]):
    """Run branches side by side; it has no id and is not recorded itself."""

    branches: tuple[Any, ...]
    return_exceptions: bool


def match_of(
    command: EventCommand, value_at: Callable[[str], Any]
) -> tuple[tuple[str, bytes], ...]:
    """The values that an event's payload must have, by path.

    value_at: reads this run's own payload at a path.
    """
    match = command.match
    if match is None:
        return ()
    if isinstance(match, str):
        return ((match, canonical_bytes(value_at(match))),)
    return tuple((path, encode(value, subject=path)) for path, value in sorted(match.items()))
