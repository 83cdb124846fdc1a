"""Hearing of a stop when it is signalled, before the server has answered all requests.

A server (uvicorn) ends an application's lifespan only after every request is answered. Calls that
wait for a running step would be waited for first, and only then steps would be given their grace.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

STOPS: Final = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_signals(stopping: Callable[[], None]) -> Iterator[None]:
    """Call back on this loop when the process is told to stop; the server's own handlers go on.

    Nothing is done outside of the main thread, which alone hears signals, nor where no handler is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    handlers: dict[int, Any] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(stopping)
        handlers[number](number, frame)

    for number in STOPS:
        handler = signal.getsignal(number)
        if callable(handler):
            handlers[number] = handler
            signal.signal(number, handle)
    try:
        yield
    finally:
        for replaced, handler in handlers.items():
            if signal.getsignal(replaced) is handle:
                signal.signal(replaced, handler)
