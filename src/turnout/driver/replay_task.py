"""The task that a replayed function is shown as its own."""

import asyncio
from asyncio.tasks import _enter_task, _leave_task  # documented for extensions of asyncio
from collections.abc import Callable
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")


class ReplayTask:
    """Stands in for the worker's task while a function is replayed, and counts its cancels.

    A function may cancel "its" task, at once or by a callback that comes later. That task runs the
    worker's own code: a cancel of it would undo the call, and the function would be called again
    without end.
    """

    def __init__(self) -> None:
        self.cancels = 0
        """How often user code cancelled it, in any replay so far."""
        self.task_id: str | None = None
        """The id of the task whose function is replayed now; None between replays."""
        self._task: asyncio.Task[Any] | None = None

    def cancel(self, msg: Any = None) -> bool:  # noqa: ARG002 - as of asyncio.Task
        """Count a cancel; nothing else happens."""
        self.cancels += 1
        return True

    def cancelling(self) -> int:
        """Return 0: the worker is not stopping."""
        return 0

    def uncancel(self) -> int:
        """Return 0, as `cancelling`."""
        return 0

    def __getattr__(self, name: str) -> Any:
        """Be like the worker's task in all else, during the replay."""
        return getattr(self._task, name)

    def run(self, task_id: str, replay: Callable[[], ResultT]) -> ResultT:
        """Be the current task while a task's function is replayed; there is no await within."""
        task = asyncio.current_task()
        if task is None:
            return replay()
        self.task_id = task_id
        loop, self._task = asyncio.get_running_loop(), task
        _leave_task(loop, task)
        _enter_task(loop, self)  # type: ignore[arg-type]
        try:
            return replay()
        finally:
            _leave_task(loop, self)  # type: ignore[arg-type]
            _enter_task(loop, task)
            self._task = self.task_id = None
