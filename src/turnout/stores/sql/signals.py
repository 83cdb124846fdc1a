"""Signals within one process."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial


class ProcessSignals:
    """`Signals` to the listeners of this process only; `send` may be called in any thread."""

    def __init__(self) -> None:
        self._listeners: dict[str, tuple[_Listener, ...]] = {}

    def send(self, topic: str) -> None:
        """Wake the listeners of a topic; those that are about to be woken are not woken twice."""
        for listener in self._listeners.get(topic, ()):
            listener.signal()

    def listen(self, topic: str, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` on the running loop for each signal of a topic; the result ends that."""
        listener = _Listener(asyncio.get_running_loop(), wake)
        self._listeners[topic] = (*self._listeners.get(topic, ()), listener)
        return partial(self._end, topic, listener)

    async def close(self) -> None:
        """Do nothing: nothing is held."""

    def _end(self, topic: str, ended: "_Listener") -> None:
        listeners = self._listeners.get(topic, ())
        self._listeners[topic] = tuple(listener for listener in listeners if listener is not ended)


@dataclass(slots=True, eq=False)
class _Listener:
    loop: asyncio.AbstractEventLoop
    wake: Callable[[], None]
    scheduled: bool = False

    def signal(self) -> None:
        if not self.scheduled:
            self.scheduled = True
            with suppress(RuntimeError):  # the loop was closed
                self.loop.call_soon_threadsafe(self._call)

    def _call(self) -> None:
        self.scheduled = False  # before the call: what happens during it is signalled again
        self.wake()
