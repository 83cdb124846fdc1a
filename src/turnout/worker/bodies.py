"""Runs the bodies of steps: async ones on the loop, sync ones in threads."""

import asyncio
import inspect
import logging
from collections.abc import Callable
from contextvars import copy_context
from datetime import datetime
from functools import partial
from typing import Any, Final, Protocol

from pydantic import ValidationError

from turnout.driver.commands import StepCommand
from turnout.driver.context import CURRENT, StepContext
from turnout.driver.retries import TIMED_OUT, BodyOutcome, check_retry_after
from turnout.driver.values import encode, faults, output_adapter
from turnout.errors import (
    InvalidJson,
    NonRetryable,
    ReplayError,
    RetryAfter,
    TooLarge,
    TurnoutError,
    UnexpectedLog,
)
from turnout.model.runs import Journal
from turnout.model.time import Millis, millis, moment
from turnout.model.transitions import failure
from turnout.ports.clock import Clock
from turnout.worker.threads import PLACES, StepThread, StepThreads

log = logging.getLogger("turnout.worker")

_UNWIND_SECONDS: Final = 1.0
"""Seconds that a body whose time is up is given to unwind."""


class Bodies(Protocol):
    """Runs the bodies of steps, or returns outcomes in their place."""

    async def run(
        self,
        command: StepCommand[Any],
        context: StepContext,
        journal: Journal,
        limit: Millis | None,
        /,
    ) -> BodyOutcome:
        """Run the attempt that `context` names; an error is an outcome, never raised.

        Cancelled when its outcome is no longer wanted; `context.cancelled` is then True.
        """
        ...

    async def close(self) -> None:
        """Release the threads; bodies that still run in them are not waited for."""
        ...


class LiveBodies:
    """Calls the functions themselves."""

    def __init__(self, clock: Clock, *, threads: int = PLACES) -> None:
        self._clock = clock
        self._threads = StepThreads(threads)

    async def run(
        self,
        command: StepCommand[Any],
        context: StepContext,
        journal: Journal,
        limit: Millis | None,
    ) -> BodyOutcome:
        """Call the step's function and keep what it returns as canonical JSON.

        The limit counts from the moment the function is called, not while it waits for a thread.
        """
        thread = None if _is_async(command.function) else await self._threads.take()
        # In a task of its own: a body may cancel its task, and may leave it cancelled; and the next
        # body must not see the context variables that it sets.
        body = asyncio.create_task(self._guarded(command, context, thread), name=body_name(context))
        try:
            output = await (body if limit is None else self._in_time(body, context, limit))
        except _TimeUp:
            return BodyOutcome(error=TIMED_OUT, timed_out=True)
        except asyncio.CancelledError as error:
            if context.cancelled or cancelling():
                raise
            return BodyOutcome(error=failure(error))
        finally:
            if thread is not None:
                self._threads.leave(thread, _subject(context, journal))
        return BodyOutcome(output=output) if isinstance(output, bytes) else self._failed(output)

    async def close(self) -> None:
        """Release the threads."""
        self._threads.close()

    async def _call(
        self, command: StepCommand[Any], context: StepContext, thread: StepThread | None
    ) -> Any:
        CURRENT.set(context)  # the attempt has a task, and so a context, of its own
        if thread is None:
            return await command.function(*command.args, **command.kwargs)
        value = await thread.call(partial(copy_context().run, _call_sync, command))
        # A sync function may return an awaitable: functools.partial, a lambda around a coroutine.
        return await value if inspect.isawaitable(value) else value

    async def _guarded(
        self, command: StepCommand[Any], context: StepContext, thread: StepThread | None
    ) -> bytes | BaseException:
        """Call the step's function; its output as canonical JSON, or its error.

        Errors are returned: one like SystemExit, on its way out of a task, would end the loop.
        """
        try:
            return _output(command, await self._call(command, context, thread))
        except asyncio.CancelledError as error:
            if cancelling():
                raise
            return error
        except BaseException as error:  # noqa: BLE001 - whatever a body raises is its outcome
            return error

    async def _in_time(
        self,
        body: asyncio.Task[bytes | BaseException],
        context: StepContext,
        limit: Millis,
    ) -> bytes | BaseException:
        alarm = asyncio.ensure_future(self._clock.sleep(limit))
        try:
            await asyncio.wait({body, alarm}, return_when=asyncio.FIRST_COMPLETED)
            if body.done():
                return body.result()
            context.cancelled = True
            body.cancel()
            await asyncio.wait({body}, timeout=_UNWIND_SECONDS)
            raise _TimeUp
        finally:
            body.cancel()
            alarm.cancel()

    def _failed(self, error: BaseException) -> BodyOutcome:
        # By type: an error may say another class of itself.
        recorded, kind = failure(error), type(error)
        if issubclass(kind, RetryAfter):
            try:
                now = self._clock.now()
                return BodyOutcome(error=recorded, retry_after=_moment_of(error, now))
            except (TurnoutError, ArithmeticError, AttributeError, TypeError, ValueError) as wrong:
                return BodyOutcome(error=failure(wrong), non_retryable=True)
        final = issubclass(kind, NonRetryable | InvalidJson | TooLarge | ReplayError)
        return BodyOutcome(error=recorded, non_retryable=final)


class _TimeUp(Exception):
    """The step's time is up."""


class OutputMismatch(ValueError):
    """A step returned what does not fit its own return annotation."""


def body_name(context: StepContext) -> str:
    """Name the asyncio task that an attempt's body runs in."""
    return f"step {context.step} #{context.attempt} of {context.run_id}"


def failed_by(unexpected: UnexpectedLog) -> BodyOutcome:
    """Make the outcome of an attempt that an unexpected error ends for good."""
    assert unexpected.error is not None
    return BodyOutcome(error=failure(unexpected.error), non_retryable=True)


def _output(command: StepCommand[Any], value: Any) -> bytes:
    raw = encode(value, subject=f"the output of step {command.id!r}")
    adapter = output_adapter(command.function)
    if adapter is not None:
        try:
            adapter.validate_json(raw, by_alias=True, by_name=True)
        except ValidationError as error:
            message = (
                f"what step {command.id!r} returned does not fit its annotation: {faults(error)}"
            )
            raise OutputMismatch(message) from None
    return raw


def _call_sync(command: StepCommand[Any]) -> Any:
    try:
        return command.function(*command.args, **command.kwargs)
    except StopIteration as error:  # a future cannot hold it
        raise RuntimeError("the step raised StopIteration") from error


def _is_async(function: Callable[..., Any]) -> bool:
    code = getattr(function, "__code__", None)
    if code is not None:
        return bool(code.co_flags & inspect.CO_COROUTINE)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object with an async __call__
    )


def _subject(context: StepContext, journal: Journal) -> dict[str, Any]:
    return {
        "task": journal.run.task,
        "step": context.step,
        "attempt": context.attempt,
        "run_id": context.run_id,
    }


def cancelling() -> bool:
    """Whether the current task is to be cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _moment_of(error: Any, now: Millis) -> Millis:
    delay = error.delay
    at = moment(delay) if isinstance(delay, datetime) else now + millis(delay, field="RetryAfter")
    return check_retry_after(at, now)
