"""The threads that sync bodies run in.

They are daemon threads: a process that stops does not wait for a body that does not return.
"""

import asyncio
import logging
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Final, Self, TypeAlias

PLACES: Final = 40
"""Sync bodies at once, in one process."""
MOST_LEFT_BEHIND: Final = 200
"""Bodies that are given up and go on: beyond these, each keeps its place until it returns."""
HUNG_AFTER: Final = 5.0
"""Seconds after which a body that was given up and goes on is logged as hung."""

log = logging.getLogger("turnout.worker")

Work: TypeAlias = tuple[Callable[[], Any], asyncio.Future[Any]]


class StepThreads:
    """Threads for so many sync bodies at a time; more bodies wait.

    A thread cannot be stopped. A body that is given up while it runs gives its place to another, so
    that bodies that hang do not stop those that wait.
    """

    def __init__(self, places: int = PLACES) -> None:
        self._places = asyncio.Semaphore(places)
        self._idle: list[StepThread] = []
        self._left_behind = 0
        self._closed = False

    async def take(self) -> "StepThread":
        """Return a thread for one body, once there is a place; the caller leaves it again."""
        await self._places.acquire()
        return self._idle.pop() if self._idle else StepThread()

    def leave(self, thread: "StepThread", subject: dict[str, Any]) -> None:
        """Give a thread back, also where its body goes on; subject: names the body in the log."""
        if not thread.busy:
            self._put_back(thread)
            return
        keeps_place = self._left_behind >= MOST_LEFT_BEHIND
        self._left_behind += 1
        if not keeps_place:
            self._places.release()
        asyncio.get_running_loop().call_later(HUNG_AFTER, self._name_hung, thread, subject)

        def returned() -> None:
            self._left_behind -= 1
            if keeps_place:
                self._places.release()
            thread.end()

        thread.on_return = returned

    def close(self) -> None:
        """End the threads; bodies that still run are not waited for."""
        self._closed = True
        while self._idle:
            self._idle.pop().end()

    def _put_back(self, thread: "StepThread") -> None:
        if self._closed:
            thread.end()
        else:
            self._idle.append(thread)
        self._places.release()

    def _name_hung(self, thread: "StepThread", subject: dict[str, Any]) -> None:
        if thread.busy:
            log.warning(
                "a step's function does not return, though the step's outcome is recorded; its"
                " thread is left behind",
                extra={
                    "action": "thread_hung",
                    **subject,
                    "left_behind": self._left_behind,
                    "stack": thread.stack(),
                },
            )


class StepThread:
    """One thread, for one body at a time."""

    def __init__(self) -> None:
        self.busy = False
        """Whether a body runs in it."""
        self.on_return: Callable[[], None] | None = None
        """Called once the body returns, where the body was given up."""
        self._work: SimpleQueue[Work | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="turnout-step", daemon=True)
        self._thread.start()

    def call(self, function: Callable[[], Any]) -> asyncio.Future[Any]:
        """Call a function in the thread."""
        self.busy = True
        future = asyncio.get_running_loop().create_future()
        self._work.put((function, future))
        return future

    def end(self) -> None:
        """End the thread after what it runs now."""
        self._work.put(None)

    def stack(self) -> str:
        """Write the stack of the body as it is now."""
        return stack_of(self._thread.ident or 0)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            function, future = work
            with _Outcome() as outcome:
                outcome.result = function()
            # Nobody waits on a loop that was closed.
            with suppress(RuntimeError):
                future.get_loop().call_soon_threadsafe(self._returned, future, outcome)
            del work, function, future, outcome  # an idle thread keeps nothing alive

    def _returned(self, future: asyncio.Future[Any], outcome: "_Outcome") -> None:
        self.busy = False
        if self.on_return is not None:
            self.on_return()
        if future.done():
            return
        if outcome.error is None:
            future.set_result(outcome.result)
        else:
            future.set_exception(outcome.error)


def stack_of(thread_id: int) -> str:
    """Write the stack of a running thread; empty where there is no such thread."""
    frame = sys._current_frames().get(thread_id)  # noqa: SLF001 - public, by its page
    return "" if frame is None else "".join(traceback.format_stack(frame))


class _Outcome:
    """What a body returned or raised, whatever it is."""

    result: Any = None
    error: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        self.error = error
        return True
