"""The flag's generation: whether this process still has the latest value of the flag."""

from turnout.model.routing import Flag, Selection
from turnout.ports.clock import Clock
from turnout.ports.run_store import FlagStore


class FlagGeneration:
    """Knows the flag of this process, and whether replicas have started with another one since.

    A process with an older value neither stores nor arms schedules: it would take them back from
    the providers that they have moved to.
    """

    def __init__(self, *, flags: FlagStore, selection: Selection, clock: Clock) -> None:
        self._flags = flags
        self._value = str(selection)
        self._clock = clock
        self._joined: Flag | None = None

    async def join(self) -> None:
        """Make this process's value the latest one, as a replica that starts."""
        self._joined = await self._flags.join(self._value, self._clock.now())

    async def is_latest(self) -> bool:
        """Whether no replica has started with another value since.

        A process that has not joined, like a command, has the latest value or an older one.
        """
        latest = await self._flags.read()
        if self._joined is None:
            return latest is None or latest.value == self._value
        return latest == self._joined
