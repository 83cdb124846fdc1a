"""Guards the attempts that run here against a blocked event loop.

An async body that makes a blocking call stops the loop, and with it the watch that renews leases. A
thread notices that, renews the leases in its place, and names the body in the log.
"""

import asyncio
import logging
import threading
import time
from typing import Any, Final

from turnout.driver.replay_task import ReplayTask
from turnout.errors import FailureLog
from turnout.worker.advancing import RunAdvancer
from turnout.worker.bodies import body_name
from turnout.worker.threads import stack_of

NOTICED_AFTER: Final = 2.0
"""Seconds that the loop is blocked until it is logged, once for each body or function."""

log = logging.getLogger("turnout.worker")


class LoopGuard:
    """A thread that sends the loop a signal every `pause` seconds."""

    def __init__(self, runs: RunAdvancer, pause: float) -> None:
        self._runs = runs
        self._pause = pause
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._loop_thread = 0
        self._sent_at: float | None = None
        """When the signal was sent that the loop has not received yet."""
        self._logged: dict[str, Any] | None = None
        """The attempt or function that was named last; None while the loop goes on."""

    def start(self) -> None:
        """Start the thread, from the loop that it guards; once started it stays until `stop`."""
        if self._thread is None:
            self._loop, self._loop_thread = asyncio.get_running_loop(), threading.get_ident()
            self._thread = threading.Thread(target=self._run, name="turnout-guard", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(self._pause):
            if not self._loop.is_closed():
                with FailureLog(log, "leases could not be renewed", action="guard_failed"):
                    self._look()

    def _look(self) -> None:
        if self._sent_at is None:
            self._sent_at = time.monotonic()
            self._loop.call_soon_threadsafe(self._received)
        else:
            self._guard(time.monotonic() - self._sent_at)

    def _received(self) -> None:
        self._sent_at = None
        self._logged = None

    def _guard(self, seconds: float) -> None:
        """Renew all leases, and name what blocks the loop."""
        claims = [running.claim for running in self._runs.in_flight if not running.dropped]
        if claims:
            lease_until = self._runs.clock.now() + self._runs.options.lease
            # On a loop of this thread: the store answers callers on any loop.
            asyncio.run(_awaited(self._runs.store.leases.renew(claims, lease_until)))
        blocking = self._blocking_attempt()
        # What blocks the loop may change before the loop receives the signal: callbacks that were
        # ready before it run first.
        if seconds >= NOTICED_AFTER and blocking != self._logged and self._sent_at is not None:
            self._logged = blocking
            self._log(blocking, seconds)

    def _log(self, blocking: dict[str, Any], seconds: float) -> None:
        log.warning(
            "the event loop is blocked: no run of this process goes on; make blocking calls in"
            " steps whose functions are not async",
            extra={
                "action": "loop_blocked",
                **blocking,
                "seconds": round(seconds, 1),
                "stack": stack_of(self._loop_thread),
            },
        )

    def _blocking_attempt(self) -> dict[str, Any]:
        """Name the attempt, or the task function, that runs on the loop now; {} for other code."""
        current: Any = asyncio.current_task(self._loop)
        if isinstance(current, ReplayTask):
            return {"task": current.task_id, "step": None}
        name = None if current is None else current.get_name()
        for running in self._runs.in_flight:
            if body_name(running.step_context) == name:
                run_id, step, attempt = running.claim
                task = running.journal.run.task
                return {"task": task, "step": step, "attempt": attempt, "run_id": run_id}
        return {}


async def _awaited(operation: Any) -> Any:
    return await operation
