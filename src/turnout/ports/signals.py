"""Signals: the processes of a service tell each other that something was committed."""

from collections.abc import Callable
from typing import Final, Protocol

DUE: Final = "due"
"""The topic of commits in the run store that made something due for the pump."""
DUE_SHADOW: Final = "due-shadow"
"""The same of the shadows' run store."""


class Signals(Protocol):
    """Hints that shorten a wait for the next poll, which stays the guarantee.

    A signal may be lost, merged with others of its topic, or come twice; it carries nothing else.
    """

    def send(self, topic: str) -> None:
        """Signal a topic to every process that listens, this one included; returns at once.

        Call it after the commit, never inside a transaction, in any thread. Signals of one topic
        are merged, and their number a second is bounded between processes, not within this one.
        """
        ...

    def listen(self, topic: str, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` on the running loop for each signal of a topic; the result ends that."""
        ...

    async def close(self) -> None:
        """Send what waits to be sent, for a moment at most, and release what is held."""
        ...
