"""What a task function can ask for.

A command does nothing by itself. When it is awaited, the driver answers it with the outcome that
the journal has under its id.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Generic, TypeVar

from turnout.driver.values import encode
from turnout.errors import ReplayError
from turnout.model.canonical import canonical_bytes
from turnout.model.policies import Retries
from turnout.model.status import StepKind
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


class ReplaySession:
    """One replay of a function: what it has asked for, and whether it may ask for more."""

    __slots__ = ("branch", "open", "progress", "refused", "streamed", "streamed_bytes", "unawaited")

    def __init__(self) -> None:
        self.open = True
        """Whether the function may ask for commands."""
        self.refused = 0
        """How many commands were refused."""
        self.unawaited: dict[int, Command[Any]] = {}
        """Commands that were made and not awaited yet, by identity."""
        self.progress: bytes | None = None
        """The last value of ctx.progress, as JSON."""
        self.branch = ""
        """The prefix of positions in the branch that is being stepped."""
        self.streamed: list[Streamed] = []
        self.streamed_bytes = 0
        """Bytes of all values in `streamed`."""

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
        self.session.unawaited[id_of(self)] = self

    def __await__(self) -> Generator["Command[T]", Any, T]:
        session = self.session
        session.unawaited.pop(id_of(self), None)
        if not session.open:
            session.refuse(self)
        result: T = yield self
        return result

    def __str__(self) -> str:
        return f"{self.kind or 'parallel'} {self.id!r}"


id_of = id
"""The identity of an object, where `id` means a step's."""


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
