"""`ctx`, which a task function is called with."""

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, TypeVar, overload

from turnout.driver.commands import (
    Command,
    EmitCommand,
    EventCommand,
    InvokeCommand,
    ParallelCommand,
    ReplaySession,
    SleepCommand,
    StepCommand,
    Streamed,
)
from turnout.driver.values import encode
from turnout.errors import InvalidDefinition, ReplayError, TooLarge
from turnout.model.ids import check_event_name, check_stream_name
from turnout.model.policies import Retries, check_path
from turnout.model.runs import Run
from turnout.model.tasks import Task
from turnout.model.time import Duration, Millis, as_datetime, millis, moment

T = TypeVar("T")

LARGEST_PROGRESS: Final = 64 * 1024
"""Bytes of one value of ctx.progress."""
LARGEST_CHUNK: Final = 64 * 1024
"""Bytes of a chunk of a stream."""
MAX_CHUNKS: Final = 10_000
"""Chunks of one run."""
MAX_STREAMED_BYTES: Final = 8 * 1024 * 1024
"""Bytes of the chunks of one attempt of a step, or of the function itself."""


@dataclass(slots=True, eq=False, kw_only=True)
class StepContext:
    """The attempt that a step's body runs for, and the progress and chunks that it reports."""

    run_id: str
    step: str
    attempt: int
    cancelled: bool = False
    """Whether its outcome is no longer wanted."""
    progress: bytes | None = None
    """The last value that the body gave to ctx.progress, as JSON."""
    streamed: list[Streamed] = field(default_factory=list)
    chunk_limit: int = MAX_CHUNKS
    """How many chunks the body may stream."""
    streamed_bytes: int = 0
    """Bytes of all values in `streamed`."""


CURRENT: Final[ContextVar[StepContext | None]] = ContextVar("turnout_step", default=None)
"""The attempt whose body runs in this context."""


class Context:
    """A task function's access to its run. All but `progress` and `stream` is awaited."""

    __slots__ = ("_payload", "_run", "_session", "_task")

    def __init__(self, task: Task, run: Run, payload: Any, session: ReplaySession) -> None:
        self._task = task
        self._run = run
        self._payload = payload
        self._session = session

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._run.run_id

    @property
    def task(self) -> str:
        """The task's id."""
        return self._task.id

    @property
    def event(self) -> str:
        """The name of the event that started the run."""
        return self._run.event

    @property
    def event_id(self) -> str:
        """The id of the event that started the run."""
        return self._run.event_id

    @property
    def event_key(self) -> str | None:
        """The key that the caller gave the event."""
        return self._run.key

    @property
    def payload(self) -> Any:
        """The event's payload, as the task function gets it."""
        return self._payload

    @property
    def emitted_at(self) -> datetime:
        """When the event was emitted; the same at every replay."""
        return as_datetime(self._run.emitted_at)

    @property
    def idempotency_key(self) -> str:
        """In a step's body: `run/step`, the same for all its attempts; for outside effects."""
        current = self._current_step("idempotency_key")
        return f"{current.run_id}/{current.step}"

    @property
    def attempt(self) -> int:
        """In a step's body: which try this is; the first is 1."""
        return self._current_step("attempt").attempt

    @property
    def cancelled(self) -> bool:
        """In a step's body: whether its outcome is no longer wanted; False elsewhere."""
        current = CURRENT.get()
        return current is not None and current.cancelled

    @overload
    def step(
        self,
        id: str,
        function: Callable[..., Awaitable[T]],
        /,
        *args: Any,
        retries: Retries | None = None,
        timeout: Duration | None = None,
        **kwargs: Any,
    ) -> StepCommand[T]: ...

    @overload
    def step(
        self,
        id: str,
        function: Callable[..., T],
        /,
        *args: Any,
        retries: Retries | None = None,
        timeout: Duration | None = None,
        **kwargs: Any,
    ) -> StepCommand[T]: ...

    def step(
        self,
        id: str,  # noqa: A002
        function: Callable[..., Any],
        /,
        *args: Any,
        retries: Retries | None = None,
        timeout: Duration | None = None,
        **kwargs: Any,
    ) -> StepCommand[Any]:
        """Run a function, sync or async, until it succeeds once; give what was recorded of it.

        What comes back has been through the journal: an instance of the return annotation where
        that has a pydantic model or a dataclass in it, else plain JSON. StepFailed when the
        attempts are used up. A function's own arguments named `retries` or `timeout` are given by
        functools.partial.
        """
        if not callable(function):
            raise InvalidDefinition(
                f"ctx.step({id!r}, …): give it a function and its arguments, not its result"
            )
        if retries is not None and not isinstance(retries, Retries):
            raise InvalidDefinition(f"ctx.step({id!r}, …): retries is an instance of Retries")
        bound = None if timeout is None else millis(timeout, field=f"step {id!r}: timeout")
        return StepCommand(self._session, id, function, args, kwargs, retries, bound)

    def sleep(self, id: str, duration: Duration) -> SleepCommand:  # noqa: A002
        """Wait; the run parks and costs nothing meanwhile."""
        return SleepCommand(self._session, id, millis(duration, field=f"sleep {id!r}"), None)

    def sleep_until(self, id: str, at: datetime | Millis) -> SleepCommand:  # noqa: A002
        """Wait until a moment: an aware datetime, or milliseconds since the epoch."""
        return SleepCommand(self._session, id, None, moment(at, field=f"sleep_until {id!r}"))

    def wait_for_event(
        self,
        name: str,
        *,
        match: str | Mapping[str, Any] | None = None,
        timeout: Duration,
        id: str | None = None,  # noqa: A002
        whole: bool = False,
        since: Literal["wait", "run"] = "wait",
    ) -> EventCommand:
        """Wait for an event; its payload, or None after the timeout.

        since: `wait` takes an event that is emitted from now on. `run` also takes one that was
        emitted earlier, since this run was: the oldest that no wait of this run has met yet. So an
        answer that comes before the run asks for it is not lost.
        match: a path like `payload.order_id`, whose value must be the same in the event and in
        this run's own payload; or a mapping of paths to values. whole: give not the payload but
        the event, as `{name, payload, event_id, key, emitted_at}`, the last in milliseconds.
        """
        name = check_event_name(name)
        for path in (match,) if isinstance(match, str) else (match or ()):
            check_path(path, field=f"wait for {name!r}: match")
        bound = millis(timeout, field=f"wait for {name!r}: timeout")
        if since not in {"wait", "run"}:
            raise InvalidDefinition(f"wait for {name!r}: since is {since!r}; write wait or run")
        step_id = name if id is None else id
        return EventCommand(
            self._session, step_id, name, match, bound, whole=whole, since_run=since == "run"
        )

    def invoke(
        self,
        task: Task | str,
        payload: Any = None,
        *,
        id: str | None = None,  # noqa: A002
        timeout: Duration | None = None,
    ) -> InvokeCommand:
        """Start another task of this app and wait for its result, as plain JSON.

        StepFailed when that run did not complete, or not in time (it then goes on by itself).
        """
        name = task.id if isinstance(task, Task) else task
        bound = None if timeout is None else millis(timeout, field=f"invoke {name!r}: timeout")
        payload = {} if payload is None else payload
        return InvokeCommand(self._session, name if id is None else id, name, payload, bound)

    def emit(
        self,
        name: str,
        payload: Any = None,
        *,
        id: str | None = None,  # noqa: A002
        key: str | None = None,
        at: datetime | Millis | None = None,
    ) -> EmitCommand:
        """Emit an event once, committed with this run's progress; gives the event's id.

        at: a delayed start of the tasks that it starts.
        """
        name = check_event_name(name)
        payload = {} if payload is None else payload
        due = None if at is None else moment(at, field=f"emit {name!r}: at")
        return EmitCommand(self._session, name if id is None else id, name, payload, key, due)

    def parallel(self, *branches: Any, return_exceptions: bool = False) -> ParallelCommand:
        """Run branches side by side and give their results in order.

        A branch is a coroutine of an async function that uses ctx, a command of ctx, or a function
        without arguments that returns either. A branch that fails does not stop the others; once
        all have settled the first one's failure, in order of branches, is raised.
        """
        for number, branch in enumerate(branches):
            if not (isinstance(branch, Command) or callable(branch) or hasattr(branch, "send")):
                raise InvalidDefinition(
                    f"ctx.parallel: branch {number} is of type {type(branch).__name__}; give it"
                    " commands of ctx, coroutines, or functions without arguments"
                )
        return ParallelCommand(self._session, "", branches, return_exceptions)

    def progress(self, value: Any) -> None:
        """Record how far the run is, as JSON; the last value is shown in its status."""
        raw = encode(value, subject="progress")
        if len(raw) > LARGEST_PROGRESS:
            raise InvalidDefinition(f"progress is at most {LARGEST_PROGRESS:,} bytes of JSON")
        current = CURRENT.get()
        if current is not None:
            current.progress = raw
        elif self._session.open:
            self._session.progress = raw

    def stream(self, name: str, chunk: Any) -> None:
        """Append a chunk, in JSON, to one of the run's streams; they are read as they are recorded.

        In the function itself each call is recorded once, however often it is replayed. A step's
        body that is tried again streams again: its chunks are marked with step and attempt. They
        are recorded with the next commit: while a body runs about once a second, and as it ends.
        """
        name = check_stream_name(name)
        raw = encode(chunk, subject=f"a chunk of stream {name!r}")
        if len(raw) > LARGEST_CHUNK:
            raise TooLarge(
                f"a chunk of stream {name!r} has {len(raw):,} bytes of JSON; at most"
                f" {LARGEST_CHUNK:,} are streamed at once: split it"
            )
        current, session = CURRENT.get(), self._session
        if current is not None:
            _append(current, current.chunk_limit, Streamed("", name, raw))
        elif session.open:
            _append(session, MAX_CHUNKS, Streamed(session.branch, name, raw))

    def _current_step(self, name: str) -> StepContext:
        current = CURRENT.get()
        if current is None:
            raise ReplayError(f"ctx.{name} is known only inside a step's body")
        return current


def _append(to: StepContext | ReplaySession, chunk_limit: int, chunk: Streamed) -> None:
    if len(to.streamed) >= chunk_limit or to.streamed_bytes + len(chunk.value) > MAX_STREAMED_BYTES:
        raise TooLarge(
            f"stream {chunk.name!r} is full: a run has at most {MAX_CHUNKS:,} chunks, and one"
            f" attempt of a step, or the function itself, {MAX_STREAMED_BYTES:,} bytes of them"
        )
    to.streamed_bytes += len(chunk.value)
    to.streamed.append(chunk)
